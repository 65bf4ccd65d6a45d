//! Support for the tests: a broker on free ports and a scripted STOMP peer.
