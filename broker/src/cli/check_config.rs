//! `stompd check-config`: the settings in force, and where each comes from.

use super::settings::Settings;
use super::{Failure, print};

pub(super) fn run(settings: Settings) -> Result<(), Failure> {
    let loaded = settings.load()?;
    let text = format!("# ok: {}\n\n{}", loaded.origin, loaded.annotated());
    print(text.as_bytes())
}
