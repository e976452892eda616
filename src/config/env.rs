//! The layer that the environment says.

use std::collections::BTreeMap;

use super::layer::Layer;
use super::value::{Origin, Said, Value, Wrong};

/// The process's environment variables that are about httpmq. Bytes that are not UTF-8 become U+FFFD, which no setting
/// may hold, so they are refused with the name of their variable.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// The `HTTPMQ_*` variables that nothing has asked for yet.
pub(crate) struct Variables(BTreeMap<String, String>);

const PREFIX: &str = "HTTPMQ_";

/// Short forms, each with the keys that it stands for.
const SHORT: [(&str, &[(&str, &str)]); 4] = [
    ("HTTPMQ_HOST", &[("http", "host"), ("pubsub", "host")]),
    ("HTTPMQ_PORT", &[("http", "port")]),
    ("HTTPMQ_TCP_PORT", &[("pubsub", "port")]),
    ("HTTPMQ_DATA_DIR", &[("store", "data_dir")]),
];

impl Variables {
    pub(crate) fn new(all: impl Iterator<Item = (String, String)>) -> Self {
        Self(all.filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }

    /// The value of a variable, which is then no longer unknown.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        match self.0.remove(name) {
            Some(value) if value.contains('\u{fffd}') => {
                Err(Wrong { origin: Origin::Named(name.to_owned()), message: "is not UTF-8 text".into() })
            }
            value => Ok(value),
        }
    }

    /// What the variables say about the keys of `shipped`: the long form, which names one key, wins over the short one.
    pub(crate) fn layer(&mut self, shipped: &Layer) -> Result<Layer, Wrong> {
        for name in ["HTTPMQ_URL", "HTTPMQ_TCP", "HTTPMQ_TOKEN", "HTTPMQ_CA"] {
            self.0.remove(name); // The client's.
        }
        let mut layer = Layer::default();
        for (name, keys) in SHORT {
            let Some(text) = self.take_setting(name)? else { continue };
            for (section, key) in keys {
                layer.set(section, key, said(name, &text, shipped, section, key));
            }
        }
        for (section, key) in shipped.sections.iter().flat_map(|(name, keys)| keys.keys().map(move |key| (name, key))) {
            let name = format!("{PREFIX}{section}_{key}").to_uppercase();
            if let Some(text) = self.take_setting(&name)? {
                layer.set(section, key, said(&name, &text, shipped, section, key));
            }
        }
        Ok(layer)
    }

    /// What is left over. No error: service managers and containers set variables with the name of the service in them.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let names = self.0.keys().map(|name| name.escape_debug());
        names.map(|name| format!("{name} is not a setting of httpmq and has no effect")).collect()
    }

    /// Kubernetes gives every pod HTTPMQ_PORT=tcp://10.0.0.7:8200 when there is a service called httpmq. That is the
    /// service's address and no setting; it stays among the unknown ones.
    fn take_setting(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        match self.0.get(name) {
            Some(value) if name.ends_with("_PORT") && value.starts_with("tcp://") => Ok(None),
            _ => self.take(name),
        }
    }
}

/// One setting out of text, as a variable or a flag has it.
pub(crate) fn said(name: &str, text: &str, shipped: &Layer, section: &str, key: &str) -> Said {
    let value = match shipped.get(section, key) {
        Some(default) => Value::from_text(text, &default.value),
        None => Value::Text(text.to_owned()),
    };
    Said { value, origin: Origin::Named(name.to_owned()) }
}
