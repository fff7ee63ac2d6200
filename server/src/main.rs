//! The entry point: parses the command line, hands over to the library, and says in the exit code
//! whether it went well.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use server::cli::{self, Cli};
use server::terminal::Terminal;

fn main() -> ExitCode {
    server::init_tls();
    let cli = Cli::parse();
    server::forbid_core_dumps().expect("everybody may lower a limit");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the operating system gives a process its threads");
    let mut terminal = Terminal::of_process();
    match runtime.block_on(cli::run(cli, &mut terminal)) {
        Ok(exit) => exit,
        // Whoever read our output has enough: `meridian lead list | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error gone there is nobody left to tell.
            let _unheard = terminal.remark(format_args!("error: {}", cli::told(&error)));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
