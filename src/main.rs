//! The `meterbridge` program: everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    meterbridge::cli::main(std::env::args_os())
}
