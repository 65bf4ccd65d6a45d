//! Tests of stompd from outside.
