//! The FIFO that a reader may listen at: every change of state as a line, in order, never waiting.

use crate::error::{Error, Kind, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mknodat, open};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// An open FIFO.
#[derive(Debug)]
pub(super) struct Fifo {
    fd: OwnedFd,
    path: PathBuf,
    /// How many lines were lost since the last one that wasn't.
    lost: u64,
}

impl Fifo {
    /// Opens the FIFO, and makes it if it is missing.
    ///
    /// Opened for reading too: then neither the open nor a write fails while nobody listens.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let failed = |error: Errno| {
            let kind = if error == Errno::ACCESS { Kind::Permission } else { Kind::Config };
            Error::new(kind, format!("can't open the FIFO {shown}")).detail(std::io::Error::from(error))
        };
        match mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(failed)?;
        let about = fstat(&fd).map_err(failed)?;
        if FileType::from_raw_mode(about.st_mode) != FileType::Fifo {
            return Err(Error::config(format!("{shown} isn't a FIFO"))
                .hint("name another path in daemon.notify_fifo, or remove the file"));
        }
        Ok(Self { fd, path: path.to_owned(), lost: 0 })
    }

    /// Writes a line; returns what a person should know. A line is written as a whole or not at all.
    pub(super) fn write(&mut self, line: &str) -> Option<String> {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, line.as_bytes()));
        let shown = self.path.display();
        match written {
            Ok(_) if self.lost > 0 => {
                let lost = std::mem::take(&mut self.lost);
                Some(format!("the FIFO {shown} takes lines again; {lost} were lost"))
            }
            Ok(_) => None,
            Err(error) => {
                self.lost = self.lost.saturating_add(1);
                (self.lost == 1).then(|| match error {
                    Errno::AGAIN => format!("the FIFO {shown} is full, lines are lost: does anyone read it?"),
                    error => format!("can't write to the FIFO {shown}: {}", std::io::Error::from(error)),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::tests::Scratch;
    use std::io::Read as _;

    #[test]
    fn lines_wait_for_a_reader_and_the_rest_is_lost_aloud() {
        let scratch = Scratch::new();
        let path = scratch.0.join("fifo");
        let mut fifo = Fifo::open(&path).unwrap();
        let mut reader = std::fs::File::open(&path).unwrap();
        assert_eq!(fifo.write("INSTANCE \"x\" BACKUP 100\n"), None);
        let mut line = [0; 24];
        reader.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"INSTANCE \"x\" BACKUP 100\n");
        let mut written = 0_usize;
        let complaint = loop {
            match fifo.write("INSTANCE \"x\" MASTER 100\n") {
                Some(complaint) => break complaint,
                None => written += 1,
            }
        };
        assert!(complaint.contains("is full"), "{complaint}");
        assert_eq!(fifo.write("INSTANCE \"x\" MASTER 100\n"), None, "said once");
        reader.read_exact(&mut vec![0; written * 24]).unwrap();
        let again = fifo.write("INSTANCE \"x\" MASTER 100\n").unwrap();
        assert!(again.ends_with("takes lines again; 2 were lost"), "{again}");
    }

    #[test]
    fn a_file_that_is_no_fifo_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.0.join("file");
        std::fs::write(&path, "").unwrap();
        assert_eq!(Fifo::open(&path).unwrap_err().kind(), Kind::Config);
        assert_eq!(Fifo::open(&scratch.0.join("no/fifo")).unwrap_err().kind(), Kind::Config);
    }
}
