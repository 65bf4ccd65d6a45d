//! stompd.
