//! Connections as psql makes them: each verdict is compared with the real psql's.

use crate::support::pg::{Cluster, Folder, LONG, give, long, tool, wait_for};
use crate::support::tls::{Identity, Names};
use pgbaton::host::clock::Deadline;
use pgbaton::pg::conn::{ConnError, ConnSettings, Session};
use pgbaton::pg::target;
use pgbaton::pg::walsender::WalSender;
use pgbaton::settings::PostgresSettings;
use pgbaton::settings::libpq;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Returns a loopback address that nobody else uses, so that every server can have port 5432.
fn own_address() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let pid = std::process::id();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{}", 100 + (pid >> 8) % 100, pid % 256, count)
}

/// What a server shows.
enum Shown<'a> {
    Plain,
    Certificate(&'a Identity),
}

struct Server {
    cluster: Cluster,
    address: String,
}

const HBA: &str = "local all all trust\n\
    local replication all trust\n\
    hostssl all scram all scram-sha-256\n\
    hostssl all certified all cert\n\
    hostssl all onlyssl all trust\n\
    hostnossl all onlyplain all trust\n\
    host all postgres all trust\n\
    hostnossl all scram all scram-sha-256\n";

impl Server {
    fn start(address: String, shown: &Shown<'_>, authority: &Identity) -> Self {
        let cluster = Cluster::primary_with("tls", &format!("listen_addresses = '{address}'"));
        let data = cluster.data();
        std::fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        cluster
            .session()
            .execute(
                "SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN PASSWORD 'se:cret'; \
                 CREATE ROLE certified LOGIN; CREATE ROLE onlyssl LOGIN; CREATE ROLE onlyplain LOGIN",
                long(),
            )
            .unwrap();
        if let Shown::Certificate(identity) = shown {
            identity.write_certificate(&data.join("server.crt"));
            identity.write_key(&data.join("server.key"));
            authority.write_certificate(&data.join("clients.crt"));
            cluster.append_settings("ssl = on\nssl_ca_file = 'clients.crt'");
        }
        let server = Self { cluster, address };
        server.cluster.ask("SELECT pg_reload_conf()");
        // A reload has arrived once a new connection is treated by the new rules.
        let wanted = if matches!(shown, Shown::Plain) { "onlyplain" } else { "onlyssl" };
        let probe = settings_at(&format!("host={} user={wanted} sslmode=allow", server.address), None);
        wait_for("the reload", || Session::connect(&probe, long()).is_ok());
        server
    }
}

fn settings_at(conninfo: &str, home: Option<&Path>) -> ConnSettings {
    let mut settings = settings(conninfo);
    settings.home = home.map(Path::to_path_buf);
    settings
}

fn settings(conninfo: &str) -> ConnSettings {
    let mut postgres = PostgresSettings::new("/nonexistent".into());
    postgres.connect_timeout = LONG;
    target::named(libpq::parse(conninfo).unwrap(), &postgres, true, "test").unwrap()
}

const IS_ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// What came of a connection: refused, or made, and encrypted or not.
type Verdict = Result<bool, String>;

fn ours(settings: &ConnSettings) -> Verdict {
    let mut session = Session::connect(settings, long()).map_err(|error| error.to_string())?;
    let rows = session.query(IS_ENCRYPTED, long()).map_err(|error| error.to_string())?;
    let encrypted = rows[0].is_true(0);
    assert_eq!(encrypted, session.tls().is_some());
    Ok(encrypted)
}

fn psql_s(conninfo: &str, home: &Path) -> Verdict {
    let mut psql = tool("psql");
    psql.arg("-XAtq").arg("-w").arg("-d").arg(conninfo).arg("-c").arg(IS_ENCRYPTED);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        psql.env_remove(name);
    }
    let output = psql.env("HOME", home).env("PGCONNECT_TIMEOUT", "60").output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim() == "t")
}

/// Compares with psql and returns the common verdict.
fn compared(conninfo: &str, home: &Path) -> Verdict {
    let mut settings = settings(conninfo);
    settings.home = Some(home.to_path_buf());
    let (ours, theirs) = (ours(&settings), psql_s(conninfo, home));
    assert_eq!(ours.clone().ok(), theirs.clone().ok(), "{conninfo}\nours: {ours:?}\npsql: {theirs:?}");
    ours
}

/// Makes a home folder whose `.postgresql` holds this authority.
fn home_with(authority: Option<&Identity>) -> Folder {
    let home = Folder::new();
    let folder = home.path().join(".postgresql");
    std::fs::create_dir(&folder).unwrap();
    give(&folder);
    if let Some(authority) = authority {
        authority.write_certificate(&folder.join("root.crt"));
    }
    home
}

/// A server with a certificate that lets the roles of a rebuild in, encrypted only.
fn replicating(authority: &Identity) -> Server {
    let address = own_address();
    let identity = authority.issue(&Names { common: "node1", dns: &[], addresses: &[&address] });
    let server = Server::start(address, &Shown::Certificate(&identity), authority);
    server.cluster.session().execute("ALTER ROLE scram REPLICATION", long()).unwrap();
    let more = "hostssl replication scram all scram-sha-256\nhostssl replication postgres all trust\n";
    let file = server.cluster.data().join("pg_hba.conf");
    std::fs::write(&file, format!("{more}{HBA}")).unwrap();
    give(&file);
    server.cluster.ask("SELECT pg_reload_conf()");
    let probe = settings(&format!("host={} user=postgres sslmode=require", server.address));
    wait_for("the reload", || WalSender::connect(&probe, long()).is_ok());
    server
}

#[test]
fn the_replication_protocol_is_encrypted_and_its_password_bound_to_that() {
    let authority = Identity::authority("the authority");
    let server = replicating(&authority);
    let (trusting, empty) = (home_with(Some(&authority)), home_with(None));
    let conninfo = |more: &str| format!("host={} user=scram password=se:cret {more}", server.address);
    for more in
        ["sslmode=verify-full channel_binding=require", "sslmode=verify-ca", "", "channel_binding=disable"]
    {
        let settings = settings_at(&conninfo(more), Some(trusting.path()));
        let mut sender =
            WalSender::connect(&settings, long()).unwrap_or_else(|error| panic!("{more}: {error}"));
        assert_eq!(sender.identify(long()).unwrap().timeline.get(), 1);
    }
    let stranger = home_with(Some(&Identity::authority("a stranger")));
    for (home, more) in [(&empty, "sslmode=verify-ca"), (&stranger, "sslmode=verify-full")] {
        let settings = settings_at(&conninfo(more), Some(home.path()));
        let error = WalSender::connect(&settings, long()).unwrap_err();
        assert!(matches!(error, ConnError::Tls(_)), "{more}: {error:?}");
    }
    let plain = settings_at(&conninfo("sslmode=disable"), None);
    assert!(matches!(WalSender::connect(&plain, long()).unwrap_err(), ConnError::Auth(_)));
}

#[test]
fn a_rebuild_hands_the_parameters_of_its_connection_on() {
    let authority = Identity::authority("the authority");
    let server = replicating(&authority);
    let home = home_with(Some(&authority));
    let root = home.path().join(".postgresql/root.crt");
    let node = Cluster::nothing("n2");
    let mut verb = std::process::Command::new(env!("CARGO_BIN_EXE_pgbaton"));
    verb.args(["pg", "rebuild-standby", "--json", "--node", "n2", "--user", "postgres", "-p", "5432"]);
    verb.args(["--source-host", &server.address, "--source-port", "5432", "--bin-directory"]);
    verb.arg(crate::support::pg::bin_dir()).arg("-D").arg(node.data());
    // The primary's address, which comes with the copy, is taken on this machine.
    let own = own_address();
    verb.arg("--socket-directory").arg(node.sockets()).args(["--listen-addresses", &own]);
    verb.env_remove("PGBATON_CONFIG").env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", &root);
    let output = verb.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)";
    assert_eq!(server.cluster.ask(encrypted), "t");
    assert_eq!(node.ask("SHOW listen_addresses"), own);
    let conninfo = node.ask("SHOW primary_conninfo");
    assert!(conninfo.contains("sslmode=verify-full"), "{conninfo}");
    assert!(conninfo.contains(root.to_str().unwrap()), "{conninfo}");
}

#[test]
fn every_sslmode_gives_psql_s_verdict_on_every_server() {
    let authority = Identity::authority("the authority");
    let stranger = Identity::authority("a stranger");
    let trusting = home_with(Some(&authority));
    let empty = home_with(None);
    for kind in ["good", "common name", "wrong name", "unknown authority", "expired", "plain"] {
        let address = own_address();
        let names = Names { common: "node1", dns: &["db.example", "*.wild.example"], addresses: &[&address] };
        let other = Names { common: "other", dns: &["other.example"], addresses: &["192.0.2.99"] };
        let common = Names { common: "db.example", ..Names::default() };
        let identity = match kind {
            "good" => Some(authority.issue(&names)),
            "common name" => Some(authority.issue(&common)),
            "wrong name" => Some(authority.issue(&other)),
            "unknown authority" => Some(stranger.issue(&names)),
            "expired" => Some(authority.issue_expired(&names)),
            _ => None,
        };
        let shown = identity.as_ref().map_or(Shown::Plain, Shown::Certificate);
        let server = Server::start(address.clone(), &shown, &authority);
        for home in [&trusting, &empty] {
            for mode in MODES {
                for host in [
                    format!("host={address}"),
                    format!("host=db.example hostaddr={address}"),
                    format!("host=a.wild.example hostaddr={address}"),
                ] {
                    let conninfo = format!("{host} user=postgres dbname=postgres sslmode={mode}");
                    let verdict = compared(&conninfo, home.path());
                    let trusted = home.path() == trusting.path();
                    println!("{kind:18} roots={trusted} {conninfo}: {verdict:?}");
                    let wanted = match (kind, mode) {
                        ("good", "verify-ca" | "verify-full") | ("wrong name", "verify-ca") => {
                            Some(trusted.then_some(true))
                        }
                        ("wrong name", "verify-full")
                        | ("expired" | "unknown authority", "verify-ca" | "verify-full")
                        | ("plain", "require" | "verify-ca" | "verify-full") => Some(None),
                        (_, "disable" | "allow") => Some(Some(false)),
                        _ => None,
                    };
                    if let Some(wanted) = wanted {
                        assert_eq!(verdict.ok(), wanted, "{kind} {conninfo}");
                    }
                }
            }
        }
        drop(server);
    }
}

#[test]
fn roles_passwords_and_certificates_give_psql_s_verdict() {
    let authority = Identity::authority("the authority");
    let home = home_with(Some(&authority));
    let address = own_address();
    let names = Names { common: "db", dns: &[], addresses: &[&address] };
    let _server = Server::start(address.clone(), &Shown::Certificate(&authority.issue(&names)), &authority);
    let file = |name: &str| home.path().join(name);
    authority.issue(&Names { common: "certified", ..Names::default() }).write_certificate(&file("wrong.crt"));
    let client = authority.issue(&Names { common: "certified", ..Names::default() });
    client.write_certificate(&file("client.crt"));
    client.write_key(&file("client.key"));
    client.write_locked_key(&file("locked.key"));
    client.write_key(&file("open.key"));
    std::fs::set_permissions(file("open.key"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    std::fs::write(file("passwords"), format!("{address}:*:postgres:scram:se\\:cret\n")).unwrap();
    std::fs::set_permissions(file("passwords"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    give(&file("passwords"));
    let here = home.path().display();
    let cert = |rest: &str| {
        format!("user=certified sslmode=verify-full {}", rest.replace("HOME", &here.to_string()))
    };
    let cases = [
        ("user=onlyssl sslmode=disable".to_owned(), None),
        ("user=onlyssl sslmode=allow".to_owned(), Some(true)),
        ("user=onlyplain sslmode=prefer".to_owned(), Some(false)),
        ("user=onlyplain sslmode=require".to_owned(), None),
        ("user=scram password=se:cret sslmode=verify-full channel_binding=require".to_owned(), Some(true)),
        ("user=scram password=se:cret sslmode=disable channel_binding=require".to_owned(), None),
        ("user=scram password=se:cret sslmode=require channel_binding=disable".to_owned(), Some(true)),
        ("user=scram password=wrong sslmode=require".to_owned(), None),
        ("user=scram sslmode=require".to_owned(), None),
        (format!("user=scram sslmode=require passfile={here}/passwords"), Some(true)),
        ("user=postgres sslmode=require channel_binding=require".to_owned(), None),
        ("user=postgres sslmode=require ssl_min_protocol_version=TLSv1.3".to_owned(), Some(true)),
        ("user=postgres sslmode=require ssl_max_protocol_version=TLSv1.2".to_owned(), Some(true)),
        ("user=postgres sslmode=verify-ca sslrootcert=/nonexistent".to_owned(), None),
        ("user=postgres sslmode=require sslrootcert=/nonexistent".to_owned(), Some(true)),
        (cert("sslcert=HOME/client.crt sslkey=HOME/client.key"), Some(true)),
        (cert("sslcert=HOME/client.crt sslkey=HOME/open.key"), None),
        (cert("sslcert=HOME/client.crt sslkey=HOME/locked.key"), None),
        (cert("sslcert=HOME/wrong.crt sslkey=HOME/client.key"), None),
        (cert("sslcert=HOME/client.crt sslkey=HOME/missing.key"), None),
        (cert("sslcert=HOME/missing.crt sslkey=HOME/client.key"), None),
        (cert(""), None),
    ];
    for (params, wanted) in cases {
        let conninfo = format!("host={address} dbname=postgres {params}");
        let verdict = compared(&conninfo, home.path());
        println!("{params}: {verdict:?}");
        assert_eq!(verdict.ok(), wanted, "{params}");
    }
    // A certificate in the usual place is sent without being named.
    client.write_certificate(&home.path().join(".postgresql/postgresql.crt"));
    client.write_key(&home.path().join(".postgresql/postgresql.key"));
    let usual = format!("host={address} dbname=postgres user=certified sslmode=require");
    assert_eq!(compared(&usual, home.path()), Ok(true));

    let session = Session::connect(&settings_at(&usual, Some(home.path())), long()).unwrap();
    let left = session.peer_certificate_not_after().unwrap()
        - i64::try_from(pgbaton::host::clock::wall().as_secs()).unwrap();
    assert!((29 * 86_400..=30 * 86_400).contains(&left), "{left}");

    let wrong = settings_at(&format!("{usual} sslmode=disable user=scram password=no"), None);
    assert!(matches!(Session::connect(&wrong, long()), Err(ConnError::Auth(_))));
    let locked = settings_at(
        &cert(&format!("host={address} sslcert=HOME/client.crt sslkey=HOME/locked.key")),
        Some(home.path()),
    );
    let error = Session::connect(&locked, long()).unwrap_err().to_string();
    assert!(error.contains("password"), "{error}");

    let service = file("services");
    std::fs::write(&service, format!("[main]\nhost={address}\nuser=onlyssl\nsslmode=require\n")).unwrap();
    give(&service);
    let by_service = format!("service=main servicefile={} dbname=postgres", service.display());
    assert_eq!(ours(&settings(&by_service)), Ok(true));
    let over_service = format!("{by_service} user=onlyplain sslmode=disable");
    assert_eq!(ours(&settings(&over_service)), Ok(false));
}

#[test]
fn several_hosts_are_tried_in_order_as_psql_does() {
    let (one, two, nobody) = (own_address(), own_address(), own_address());
    let primary = Cluster::primary_with("n1", &format!("listen_addresses = '{one}'"));
    let standby = Cluster::standby_not_started("n2", &primary);
    standby.append_settings(&format!("listen_addresses = '{two}'"));
    for server in [&primary, &standby] {
        std::fs::write(
            server.data().join("pg_hba.conf"),
            "local all all trust\nlocal replication all trust\nhost all all all trust\n",
        )
        .unwrap();
    }
    primary.ask("SELECT pg_reload_conf()");
    standby.start();
    let first = settings(&format!("host={one} user=postgres sslmode=disable"));
    wait_for("the reload", || Session::connect(&first, long()).is_ok());
    let home = home_with(None);
    let ask = |hosts: &str, attrs: &str| -> Result<String, String> {
        let conninfo = format!("host={hosts} user=postgres dbname=postgres target_session_attrs={attrs}");
        let place = "SELECT host(inet_server_addr())";
        let ours = Session::connect(&settings(&conninfo), long())
            .map_err(|error| error.to_string())
            .map(|mut session| session.query(place, long()).unwrap()[0].get(0).unwrap().to_owned());
        let mut psql = tool("psql");
        let output =
            psql.env("HOME", home.path()).arg("-XAtq").args(["-d", &conninfo, "-c", place]).output().unwrap();
        let theirs =
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        assert_eq!(
            ours.clone().ok(),
            theirs,
            "{conninfo}: {ours:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        ours
    };
    for (attrs, wanted) in [
        ("any", Some(&one)),
        ("primary", Some(&one)),
        ("read-write", Some(&one)),
        ("standby", Some(&two)),
        ("read-only", Some(&two)),
        ("prefer-standby", Some(&two)),
    ] {
        assert_eq!(ask(&format!("{nobody},{one},{two}"), attrs).as_ref().ok(), wanted, "{attrs}");
    }
    assert_eq!(ask(&format!("{nobody},{two}"), "any"), Ok(two.clone()));
    assert_eq!(ask(&format!("{nobody},{one}"), "prefer-standby"), Ok(one.clone()));
    assert!(ask(&one, "standby").unwrap_err().contains("standby"));
    assert!(ask(&two, "read-write").is_err());
    // The session of a read-write search can still do what every other can.
    let mut session = Session::connect(
        &settings(&format!("host={one} user=postgres target_session_attrs=read-write")),
        long(),
    )
    .unwrap();
    assert_eq!(session.query("SHOW default_transaction_read_only", long()).unwrap()[0].get(0), Some("off"));

    // A host that hangs costs its timeout and no more.
    primary.signal(nix::sys::signal::Signal::SIGSTOP);
    let hung = settings(&format!("host={one},{two} user=postgres connect_timeout=1 sslmode=prefer"));
    let session = Session::connect(&hung, long()).unwrap();
    assert_eq!(session.place(), format!("{two}:5432"));
    let alone = settings(&format!("host={one} user=postgres sslmode=require"));
    let error = Session::connect(&alone, Deadline::after(Duration::from_millis(300))).unwrap_err();
    assert!(matches!(error, ConnError::Timeout(_)), "{error}");
    primary.signal(nix::sys::signal::Signal::SIGCONT);
}

#[test]
fn a_server_that_falls_silent_in_the_handshake_hits_the_deadline() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, wait) = std::sync::mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(b"S").unwrap();
        // Silent until the test is over.
        wait.recv().unwrap_or_default();
    });
    let settings = settings(&format!("host=127.0.0.1 port={} user=x sslmode=require", address.port()));
    let error = Session::connect(&settings, Deadline::after(Duration::from_millis(300))).unwrap_err();
    assert!(matches!(error, ConnError::Timeout(_)), "{error}");
    drop(ended);
    server.join().unwrap();
}

/// Runs the program, says what it would promote and returns whether it found the server.
fn dry_run(arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_pgbaton"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        program.env_remove(name);
    }
    program.args(["pg", "promote", "--dry-run", "--json"]).args(arguments);
    let output = program.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let document: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (document.get("timeline").is_some(), text)
}

#[test]
fn pg_promote_is_told_the_server_as_psql_is() {
    let primary = Cluster::primary("n1");
    let standby = Cluster::standby_of("n2", &primary);
    let sockets = standby.sockets().display().to_string();
    let user = ("PGUSER", "postgres");
    let uri = format!("postgresql:///postgres?host={sockets}&user=postgres");
    for (arguments, variables) in [
        (vec!["-d", &uri], vec![("PGHOST", "/nonexistent")]),
        (vec!["-d", &uri, "-h", "/nonexistent"], vec![]),
        (vec!["-h", &sockets], vec![("PGHOST", "/nonexistent"), user]),
        (vec![], vec![("PGHOST", sockets.as_str()), user]),
    ] {
        let (found, text) = dry_run(&arguments, &variables);
        assert!(found, "{arguments:?} {variables:?}: {text}");
    }
    for (arguments, variables, says) in [
        (vec!["-d", "hots=/tmp"], vec![], "unknown connection parameter"),
        (vec!["-d", "service=nowhere"], vec![], "no service"),
        (vec!["-h", "192.0.2.1"], vec![("PGSSLMODE", "verify")], "sslmode must be one of"),
        (vec!["-d", "host=x sslpassword=y"], vec![], "sslpassword"),
    ] {
        let (found, text) = dry_run(&arguments, &variables);
        assert!(!found && text.contains(says), "{arguments:?}: {text}");
    }

    // A configuration that names the server: where the environment points doesn't count, what protects does.
    let folder = Folder::new();
    let config = folder.path().join("pgbaton.toml");
    let text = format!(
        "[cluster]\nname = \"a\"\n[[node]]\nname = \"n2\"\naddress = \"192.0.2.2\"\npriority = 1\n\
         [[vip]]\naddress = \"192.0.2.3/24\"\ninterface = \"lo\"\n[vrrp]\ninterface = \"lo\"\n[postgres]\n\
         data_directory = \"{}\"\nsocket_directory = \"{sockets}\"\nconninfo = \"sslmode=verify-full\"\n",
        standby.data().display()
    );
    std::fs::write(&config, text).unwrap();
    let named = ["--config", config.to_str().unwrap(), "--node", "n2"];
    let (_, text) = dry_run(&named, &[("PGHOST", "/nonexistent"), ("PGUSER", "nobody"), ("PGPORT", "1")]);
    // The server was found and asked; this machine just isn't that node.
    assert!(text.contains("doesn't have the address 192.0.2.2"), "{text}");
    let wrong = dry_run(&named, &[("PGSSLMODE", "verify"), ("PGHOST", "/nonexistent")]).1;
    assert!(!wrong.contains("sslmode must be"), "conninfo comes before the environment: {wrong}");
}
