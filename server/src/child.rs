//! Servers of our own as child processes: they end when we do, in whatever way.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Sends a signal to a process.
pub(crate) fn kill(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // Zero and negative numbers mean groups, so a number that does not fit must not become one.
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    #[expect(unsafe_code, reason = "std signals only with SIGKILL; kill takes two plain numbers")]
    let done = unsafe { libc::kill(pid, signal) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the kernel send `signal` to a server when the thread that starts it is gone, by whatever cause.
#[cfg(target_os = "linux")]
pub(crate) fn die_with_us(command: &mut Command, signal: libc::c_int) {
    let parent = libc::pid_t::try_from(std::process::id()).ok();
    let wish = move || {
        #[expect(
            unsafe_code,
            reason = "prctl and getppid take plain numbers and may follow a fork"
        )]
        let (asked, parent_now) =
            unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, signal), libc::getppid()) };
        if asked != 0 {
            return Err(io::Error::last_os_error());
        }
        // Died between fork and the wish: nobody would ever send the signal.
        if Some(parent_now) != parent {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "the closure only makes system calls: no memory, no locks")]
    unsafe {
        // std runs it after the change of user, which would undo the wish.
        command.pre_exec(wish);
    }
}

/// Elsewhere a server that loses us stays until somebody ends it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with_us(_: &mut Command, _: libc::c_int) {}
