//! Arguments to a command to an exit code.

fn main() -> std::process::ExitCode {
    weir::cli::main()
}
