//! The keys that adverts are signed with: from the settings, and from the files that they name.

use crate::error::{Error, Kind, Result};
use crate::settings::{Secret, SigningMode, SigningSettings, from_hex};
use crate::vrrp::signature::{Key, Mode, Signing};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// More than any key is long, in whatever form.
const LONGEST: u64 = 4096;

/// Returns how adverts are signed; `None` where there are no keys.
///
/// # Errors
/// A file can't be read, can be read by others, or holds no key.
pub(super) fn load(settings: &SigningSettings) -> Result<Option<Signing>> {
    let mut keys = Vec::new();
    for key in &settings.keys {
        let octets = match &key.secret {
            Secret::Octets(octets) => octets.clone(),
            Secret::File(path) => read(path)?,
        };
        let length = octets.len();
        keys.push(Key::new(key.id, octets).ok_or_else(|| {
            Error::config(format!("key {} has {length} octets", key.id))
                .detail("a key has 32 to 64")
                .hint("head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'")
        })?);
    }
    if keys.is_empty() {
        return Ok(None);
    }
    let mode = match settings.mode {
        SigningMode::Enforce => Mode::Enforce,
        SigningMode::Permissive => Mode::Permissive,
        SigningMode::ReceiveOnly => Mode::ReceiveOnly,
    };
    Ok(Some(Signing { keys, mode, window: settings.window }))
}

/// Reads a key: hexadecimal digits, or else the octets themselves.
fn read(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let kind = if denied { Kind::Permission } else { Kind::Config };
        Error::new(kind, format!("can't read the key file {shown}")).detail(error)
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o007 != 0 {
        return Err(Error::config(format!("everybody may read the key file {shown}, or write it"))
            .hint(format!("chmod o-rwx {shown}")));
    }
    let mut octets = Vec::new();
    file.take(LONGEST).read_to_end(&mut octets).map_err(failed)?;
    let text = std::str::from_utf8(&octets).ok().map(str::trim).filter(|text| text.len() >= 64);
    Ok(text.and_then(from_hex).unwrap_or(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SigningKey;

    #[test]
    fn a_key_file_holds_digits_or_octets_and_is_nobody_elses() {
        let path = std::env::temp_dir().join(format!("pgbaton-key-{}", std::process::id()));
        let settings = SigningSettings {
            keys: vec![SigningKey { id: 3, secret: Secret::File(path.clone()) }],
            ..SigningSettings::default()
        };
        let mode =
            |mode: u32| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let expected = Some(Key::new(3, vec![0xab; 32]).unwrap());
        for content in
            [vec![0xab; 32], "ab".repeat(32).into_bytes(), format!("{}\n", "AB".repeat(32)).into_bytes()]
        {
            std::fs::write(&path, content).unwrap();
            mode(0o640);
            let signing = load(&settings).unwrap().unwrap();
            assert_eq!(signing.keys.first(), expected.as_ref());
            mode(0o644);
            assert!(load(&settings).unwrap_err().to_string().contains("everybody may read"));
        }
        std::fs::write(&path, "short").unwrap();
        mode(0o600);
        assert!(load(&settings).unwrap_err().to_string().contains("key 3 has 5 octets"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(load(&settings).unwrap_err().kind(), Kind::Config);
        assert_eq!(load(&SigningSettings::default()).unwrap(), None);
    }
}
