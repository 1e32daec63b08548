//! The binary: hands the command line to the library and exits with what it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(pgbaton::run(std::env::args_os().collect()))
}
