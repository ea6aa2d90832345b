//! The settings as they are now, and what is told of failures.

use std::cell::RefCell;
use std::rc::Rc;

use tessera_sdk::{Error, config, inference, log};

use crate::settings::Settings;

type Pairs = Vec<(String, String)>;

thread_local! {
    /// What the settings were read from, and they themselves.
    static LAST: RefCell<Option<(Pairs, Rc<Settings>)>> = const { RefCell::new(None) };
}

/// What the policy says at this moment. Read anew only where it has changed.
///
/// # Errors
/// 500 where the policy says what can't be; why is in the log, and not for clients.
pub(crate) fn settings() -> Result<Rc<Settings>, Error> {
    let pairs = config::all();
    let known = LAST.with_borrow(|last| last.as_ref().filter(|(from, _)| *from == pairs).map(|(_, settings)| settings.clone()));
    if let Some(settings) = known {
        return Ok(settings);
    }
    let parsed = Settings::parse(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let settings = Rc::new(parsed.map_err(|why| {
        log::error(&why);
        Error::internal("the settings of this service are wrong; its log says why")
    })?);
    LAST.set(Some((pairs, settings.clone())));
    Ok(settings)
}

/// Tells the operator what the device did. Mistakes of a client are the client's to read.
pub(crate) fn tell(error: &inference::Error) {
    if matches!(
        error.code,
        inference::ErrorCode::Internal | inference::ErrorCode::UnknownModel | inference::ErrorCode::Unsupported
    ) {
        log::error(&format!("a model could not be asked: {}", error.message));
    }
}
