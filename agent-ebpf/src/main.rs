//! weir's kernel programs: one file per hook.
//!
//! A program is a thin entry over a `try_` function; [`fault`] says what each fault does to the
//! connection. What counts as governed, and where the listeners are, is user space's to write.
#![no_std]
#![no_main]

mod connect;
mod connect4;
mod connect6;
mod egress;
mod fault;
mod getpeername4;
mod getpeername6;
mod maps;
mod process;
mod sock_ops;
mod sockets;
mod writers;

/// Unreachable: the verifier refuses a program that could loop, and nothing here can panic.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers for socket storage and kernel memory are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
