//! stub
use crate::error::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;
/// s
#[derive(Debug)]
pub struct DataDirectory(PathBuf);
/// p
#[derive(Debug)]
pub struct Postmaster { /// p
 pub pid: u32 }
/// r
#[derive(Debug)]
pub struct StopReport;
impl StopReport { /// c
 pub fn changed(&self) -> bool { true } }
impl std::fmt::Display for StopReport { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("x") } }
impl DataDirectory {
 /// o
 pub fn open(p: &Path) -> Result<Self> { Ok(Self(p.to_owned())) }
 /// o
 pub fn path(&self) -> &Path { &self.0 }
 /// o
 pub fn postmaster(&self) -> Result<Option<Postmaster>> { Ok(None) }
 /// o
 pub fn has_standby_signal(&self) -> bool { false }
 /// o
 pub fn write_standby_signal(&self) -> Result<bool> { Ok(true) }
 /// o
 pub fn stop_for_sure(&self, _: Duration, _: Duration) -> Result<StopReport> { Ok(StopReport) }
}
