//! From a process to a person or service that the identity provider vouches for.

pub mod evidence;

pub use evidence::Evidence;
