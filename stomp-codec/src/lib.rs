//! A codec for STOMP.
