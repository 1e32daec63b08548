//! How a data node keeps its register ([`Register`]): as JSON in a custom setting of `postgresql.auto.conf`.
//!
//! Pure. `ALTER SYSTEM` writes that file durably on a running server, a standby too; on a stopped one the file itself is
//! written. It travels with `pg_basebackup` and `pg_rewind`, and with it the register of *another* node: a rebuild puts
//! the node's own back.

use crate::pg::sql::{ident, literal};
use crate::promotion::rules::Register;

/// The setting.
pub const SETTING: &str = "pgbaton.register";

/// The key of the advisory lock that makes reading and writing the register one step.
pub const LOCK: i64 = 0x7067_6261_746f_6e01;

/// Reads the setting's value; an empty one is a register that holds nothing yet.
pub fn parse(text: &str) -> Result<Register, serde_json::Error> {
    if text.trim().is_empty() {
        return Ok(Register::default());
    }
    serde_json::from_str(text)
}

/// Returns the setting's value; `None` when there is nothing to keep.
pub fn to_text(register: &Register) -> Option<String> {
    // It has no map with keys that JSON can't hold, so this can't fail.
    (*register != Register::default()).then(|| serde_json::to_string(register).unwrap_or_default())
}

/// Returns the statements that write it, in this order and not in a transaction.
///
/// The first makes the name known to the session: without it the server doesn't recognise the setting.
pub fn write(register: &Register) -> [String; 3] {
    let name = ident(SETTING);
    let alter = match to_text(register) {
        Some(text) => format!("ALTER SYSTEM SET {name} = {}", literal(&text)),
        None => format!("ALTER SYSTEM RESET {name}"),
    };
    [format!("SET {name} = ''"), alter, "SELECT pg_reload_conf()".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::epoch::Term;
    use crate::promotion::rules::Confirmed;

    #[test]
    fn a_register_survives_its_text() {
        let register = Register {
            confirmed: Some(Confirmed { term: Term(3), holder: "it's".to_owned() }),
            unfit: true,
            ..Register::default()
        };
        let text = to_text(&register).unwrap();
        assert_eq!(parse(&text).unwrap(), register);
        assert!(write(&register)[1].contains("it''s"), "{:?}", write(&register));
        assert_eq!(to_text(&Register::default()), None);
        assert_eq!(parse(" ").unwrap(), Register::default());
        assert!(parse("{").is_err());
    }
}
