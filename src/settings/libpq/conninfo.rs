//! The two forms of a connection string: `key=value` pairs and a URI ("Connection Strings" in libpq's documentation).
//!
//! Pure: a text comes in, parameters go out. The errors name what is wrong, never a value: it may be a password.

use super::{ConninfoError, Params};

/// Returns whether a database name is a connection string instead, as psql decides for `-d`.
pub fn is_conninfo(text: &str) -> bool {
    uri_rest(text).is_some() || text.contains('=')
}

/// Reads a connection string of either form.
pub fn parse(text: &str) -> Result<Params, ConninfoError> {
    if text.contains('\0') {
        return Err(ConninfoError::new("a connection string can't hold a zero character"));
    }
    match uri_rest(text) {
        Some(rest) => uri(rest),
        None => pairs(text),
    }
}

fn uri_rest(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

fn pairs(text: &str) -> Result<Params, ConninfoError> {
    let mut params = Params::default();
    let mut chars = text.chars().peekable();
    // The white space of C's isspace, which is what libpq looks for.
    let blank = |c: &char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    loop {
        while chars.next_if(blank).is_some() {}
        if chars.peek().is_none() {
            return Ok(params);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !blank(c)) {
            name.push(c);
        }
        while chars.next_if(blank).is_some() {}
        if chars.next_if_eq(&'=').is_none() {
            return Err(ConninfoError::new(format!(
                "missing \"=\" after \"{}\" in the connection string",
                name.escape_debug()
            )));
        }
        while chars.next_if(blank).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        let mut closed = !quoted;
        while let Some(c) = chars.next_if(|c| quoted || !blank(c)) {
            match c {
                '\'' if quoted => {
                    closed = true;
                    break;
                }
                // A backslash at the end stands for nothing.
                '\\' => value.extend(chars.next()),
                other => value.push(other),
            }
        }
        if !closed {
            return Err(ConninfoError::new("unterminated quoted string in the connection string"));
        }
        params.set(&name, value)?;
    }
}

fn uri(text: &str) -> Result<Params, ConninfoError> {
    let mut params = Params::default();
    let mut rest = text;
    if let Some(at) = rest.find(['@', '/']).filter(|at| rest.get(*at..).is_some_and(|r| r.starts_with('@'))) {
        let (who, after) = split(rest, at);
        rest = after;
        let (user, password) = match who.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (who, None),
        };
        if !user.is_empty() {
            params.set("user", decode(user)?)?;
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            params.set("password", decode(password)?)?;
        }
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    loop {
        let (host, after) = one_host(rest)?;
        hosts.push(host);
        rest = after;
        let end = rest.find(['/', '?', ',']).unwrap_or(rest.len());
        let port = match rest.strip_prefix(':') {
            Some(_) => rest.get(1..end).unwrap_or_default(),
            None => "",
        };
        ports.push(port);
        rest = rest.get(end..).unwrap_or_default();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    // One host without a name is no host at all: the default stays.
    let hosts = hosts.join(",");
    if !hosts.is_empty() {
        params.set("host", decode(&hosts)?)?;
    }
    let ports = ports.join(",");
    if !ports.is_empty() {
        params.set("port", decode(&ports)?)?;
    }
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    if let Some(dbname) = path.strip_prefix('/').filter(|dbname| !dbname.is_empty()) {
        params.set("dbname", decode(dbname)?)?;
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        query_pair(&mut params, pair)?;
    }
    Ok(params)
}

fn split(text: &str, at: usize) -> (&str, &str) {
    (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default())
}

/// Cuts off a host: a name, an address, or an IPv6 address in brackets.
fn one_host(text: &str) -> Result<(&str, &str), ConninfoError> {
    let Some(inside) = text.strip_prefix('[') else {
        let end = text.find([':', '/', '?', ',']).unwrap_or(text.len());
        return Ok((text.get(..end).unwrap_or_default(), text.get(end..).unwrap_or_default()));
    };
    let Some((address, after)) = inside.split_once(']') else {
        return Err(ConninfoError::new("the URI has a \"[\" without its \"]\""));
    };
    if address.is_empty() {
        return Err(ConninfoError::new("the URI has an empty IPv6 address"));
    }
    if !after.is_empty() && !after.starts_with([':', '/', '?', ',']) {
        return Err(ConninfoError::new(
            "the URI has something after the \"]\" that is neither \":\" nor \"/\"",
        ));
    }
    Ok((address, after))
}

fn query_pair(params: &mut Params, pair: &str) -> Result<(), ConninfoError> {
    let Some((name, value)) = pair.split_once('=') else {
        return Err(ConninfoError::new(format!(
            "missing \"=\" after \"{}\" in the URI's query",
            pair.escape_debug()
        )));
    };
    let name = decode(name)?;
    if value.contains('=') {
        return Err(ConninfoError::new(format!(
            "extra \"=\" in the URI's query, in {}",
            name.escape_debug()
        )));
    }
    let value = decode(value)?;
    // What JDBC understands.
    if name == "ssl" && value == "true" {
        return params.set("sslmode", "require".to_owned());
    }
    params.set(&name, value)
}

fn decode(text: &str) -> Result<String, ConninfoError> {
    let bad = || ConninfoError::new("the URI has a \"%\" that isn't followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
        let byte = u8::try_from(high * 16 + low).map_err(|_| bad())?;
        if byte == 0 {
            return Err(ConninfoError::new("the URI has a %00, which no parameter can hold"));
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_| ConninfoError::new("the URI isn't UTF-8 once it is decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn got(text: &str) -> Vec<(String, String)> {
        let params = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn pairs_of(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut pairs: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn pairs_are_read_with_blanks_quotes_and_backslashes() {
        let text = r"host = db1  port=5433 dbname='my db' password='it\'s \\' user=a\ b options=";
        let wanted = [
            ("host", "db1"),
            ("port", "5433"),
            ("dbname", "my db"),
            ("password", r"it's \"),
            ("user", "a b"),
            ("options", ""),
        ];
        assert_eq!(got(text), pairs_of(&wanted));
        assert_eq!(got("  "), pairs_of(&[]));
        assert_eq!(got("host=a host=b"), pairs_of(&[("host", "b")]));
    }

    #[test]
    fn the_examples_of_the_manual_are_read() {
        for (text, wanted) in [
            ("postgresql://", vec![]),
            ("postgresql://localhost", vec![("host", "localhost")]),
            ("postgres://localhost:5433", vec![("host", "localhost"), ("port", "5433")]),
            ("postgresql://localhost/mydb", vec![("host", "localhost"), ("dbname", "mydb")]),
            (
                "postgresql://user:secret@localhost",
                vec![("user", "user"), ("password", "secret"), ("host", "localhost")],
            ),
            (
                "postgresql://host1:123,host2:456/somedb?target_session_attrs=any&application_name=myapp",
                vec![
                    ("host", "host1,host2"),
                    ("port", "123,456"),
                    ("dbname", "somedb"),
                    ("target_session_attrs", "any"),
                    ("application_name", "myapp"),
                ],
            ),
            (
                "postgresql:///mydb?host=localhost&port=5433",
                vec![("dbname", "mydb"), ("host", "localhost"), ("port", "5433")],
            ),
            (
                "postgresql://[2001:db8::1234]/database",
                vec![("host", "2001:db8::1234"), ("dbname", "database")],
            ),
            (
                "postgresql:///dbname?host=/var/lib/postgresql",
                vec![("dbname", "dbname"), ("host", "/var/lib/postgresql")],
            ),
            (
                "postgresql://%2Fvar%2Flib%2Fpostgresql/dbname",
                vec![("host", "/var/lib/postgresql"), ("dbname", "dbname")],
            ),
            ("postgresql://a,b?ssl=true", vec![("host", "a,b"), ("port", ","), ("sslmode", "require")]),
        ] {
            assert_eq!(got(text), pairs_of(&wanted), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_a_value() {
        for (text, says) in [
            ("host", "missing \"=\" after \"host\""),
            ("password='hunter2", "unterminated"),
            ("sslmod=require", "did you mean \"sslmode\"?"),
            ("postgresql://[::1/x", "without its \"]\""),
            ("postgresql://h?sslmod=hunter2", "sslmode"),
            ("postgresql://h%2", "hexadecimal"),
            ("postgresql://h?a", "missing \"=\""),
            ("postgresql://h?password=hunter2=", "extra"),
            ("postgresql://h/%00", "%00"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_database_name_is_told_from_a_connection_string() {
        assert!(is_conninfo("host=a") && is_conninfo("postgres://a") && is_conninfo("postgresql://"));
        assert!(!is_conninfo("mydb") && !is_conninfo("postgres"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s)(postgres(ql)?://)?.{0,60}") {
            drop(parse(&text));
        }

        #[test]
        fn any_quoted_value_is_read_back(value in "[^\0]{0,30}") {
            let quoted = value.replace('\\', r"\\").replace('\'', r"\'");
            let params = parse(&format!("user=x password='{quoted}' port=1")).unwrap();
            prop_assert_eq!(params.get("password"), Some(value.as_str()));
            prop_assert_eq!(params.get("port"), Some("1"));
        }

        #[test]
        fn any_encoded_value_is_read_back(value in "[^\0]{1,30}") {
            let encoded: String = value.bytes().flat_map(|byte| format!("%{byte:02X}").into_bytes()).map(char::from).collect();
            let params = parse(&format!("postgresql://{encoded}@h/{encoded}?options={encoded}")).unwrap();
            for name in ["user", "dbname", "options"] {
                prop_assert_eq!(params.get(name), Some(value.as_str()));
            }
        }
    }
}
