//! The kernel's side of weir, seen from user space: programs, maps, and what they know of a socket.

pub mod origins;

pub use origins::Origin;
