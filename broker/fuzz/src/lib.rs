//! The fuzz targets of the broker. What they check is compiled from the broker's sources, without
//! the rest of the broker and its dependencies: so it builds in seconds instead of minutes.

pub mod target;
#[path = "../../src/websocket/mod.rs"]
pub mod websocket;
