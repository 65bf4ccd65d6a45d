//! The stompd program.
fn main() {}
