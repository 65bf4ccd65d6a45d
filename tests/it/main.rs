//! Tests of stompd from outside: frames in, frames expected out, over real sockets.

mod slow_consumers;
mod stop;
mod topics;
