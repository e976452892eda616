//! What a layer says: sections of keys, names known to be right, values not looked at yet.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{Origin, Said, Value, Wrong};

/// The keys of one section.
pub(crate) type Section = BTreeMap<String, Said>;

/// What one source of settings says; what it leaves out is not in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub(crate) sections: BTreeMap<String, Section>,
    /// `[queues."name"]`, each with the place of the name.
    pub(crate) queues: BTreeMap<String, (Origin, Section)>,
    /// `[auth.tokens.name]`, likewise.
    pub(crate) tokens: BTreeMap<String, (Origin, Section)>,
}

/// The keys of a token, those first that it cannot do without.
pub(crate) const TOKEN_KEYS: [&str; 4] = ["sha256", "queues", "rights", "requests_per_s"];
/// Stands in the section `auth` and is none of its keys.
const TOKENS: &str = "tokens";

impl Layer {
    /// Reads TOML. Every name must be one of `known`; without it every name is taken.
    pub(crate) fn from_toml(text: &str, known: Option<&Self>, origin: fn(usize) -> Origin) -> Result<Self, Wrong> {
        let reader = Reader { known, origin };
        let (document, errors) = DeTable::parse_recoverable(text);
        let place = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start);
        if let Some(first) = errors.iter().min_by_key(|error| place(error)) {
            return Err(Wrong { origin: origin(place(first)), message: first.message().replace('\n', ", ") });
        }
        let mut layer = Self::default();
        for (name, value) in document.get_ref() {
            if name.get_ref() == "queues" {
                layer.queues = reader.queues(name, value)?;
            } else if name.get_ref() == "auth" {
                layer.tokens = reader.tokens(name, value)?;
                layer.sections.insert(name.get_ref().to_string(), reader.section(name, value)?);
            } else {
                layer.sections.insert(name.get_ref().to_string(), reader.section(name, value)?);
            }
        }
        Ok(layer)
    }

    /// Says one thing.
    pub(crate) fn set(&mut self, section: &str, key: &str, said: Said) {
        self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), said);
    }

    /// What the layer says about a key.
    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&Said> {
        self.sections.get(section)?.get(key)
    }

    /// Takes over everything that `upper` says.
    pub(crate) fn overlay(&mut self, upper: Self) {
        for (name, section) in upper.sections {
            self.sections.entry(name).or_default().extend(section);
        }
        self.queues.extend(upper.queues);
        self.tokens.extend(upper.tokens);
    }
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

struct Reader<'k> {
    known: Option<&'k Layer>,
    origin: fn(usize) -> Origin,
}

impl Reader<'_> {
    fn section(&self, name: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Result<Section, Wrong> {
        let known = match self.known {
            None => None,
            Some(layer) => Some(layer.sections.get(name.get_ref().as_ref()).ok_or_else(|| {
                let allowed = list(layer.sections.keys().map(String::as_str).chain(["queues"]));
                self.wrong(name, format!("there is no section `{}`; there are {allowed}", shown(name)))
            })?),
        };
        let known = known.map(names);
        self.keys(self.table(name, value)?, known.as_deref(), &format!("[{name}]", name = name.get_ref()))
    }

    fn queues(
        &self,
        name: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<BTreeMap<String, (Origin, Section)>, Wrong> {
        let known = self.known.and_then(|layer| layer.sections.get("queue_defaults")).map(names);
        self.named(self.table(name, value)?, known.as_deref(), "a queue")
    }

    /// The tokens in the section `auth`.
    fn tokens(
        &self,
        name: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<BTreeMap<String, (Origin, Section)>, Wrong> {
        let found = self.table(name, value)?.iter().find(|(key, _)| key.get_ref() == TOKENS);
        let Some((name, value)) = found else { return Ok(BTreeMap::new()) };
        self.named(self.table(name, value)?, Some(&TOKEN_KEYS), "a token")
    }

    /// Sections with names that the operator gives.
    fn named(
        &self,
        table: &DeTable<'_>,
        known: Option<&[&str]>,
        place: &str,
    ) -> Result<BTreeMap<String, (Origin, Section)>, Wrong> {
        let mut named = BTreeMap::new();
        for (name, value) in table {
            let keys = self.keys(self.table(name, value)?, known, place)?;
            named.insert(name.get_ref().to_string(), ((self.origin)(name.span().start), keys));
        }
        Ok(named)
    }

    fn keys(&self, table: &DeTable<'_>, known: Option<&[&str]>, place: &str) -> Result<Section, Wrong> {
        let mut section = Section::new();
        for (key, value) in table {
            if place == "[auth]" && key.get_ref() == TOKENS {
                continue;
            }
            if let Some(known) = known.filter(|known| !known.contains(&key.get_ref().as_ref())) {
                let allowed = list(known.iter().copied());
                return Err(
                    self.wrong(key, format!("there is no key `{}` in {place}; there are {allowed}", shown(key)))
                );
            }
            let said = Said { value: Value::from_toml(value.get_ref()), origin: (self.origin)(value.span().start) };
            section.insert(key.get_ref().to_string(), said);
        }
        Ok(section)
    }

    fn table<'v, 'a>(&self, name: &Key<'_>, value: &'v Spanned<DeValue<'a>>) -> Result<&'v DeTable<'a>, Wrong> {
        let table = value.get_ref().as_table();
        table.ok_or_else(|| {
            self.wrong(name, format!("`{}` is a section, whose keys stand under its [name]", shown(name)))
        })
    }

    fn wrong(&self, key: &Key<'_>, message: String) -> Wrong {
        Wrong { origin: (self.origin)(key.span().start), message }
    }
}

/// A name out of the file, which may hold anything, made fit for a terminal.
fn shown(name: &Key<'_>) -> String {
    name.get_ref().escape_debug().to_string()
}

fn names(section: &Section) -> Vec<&str> {
    section.keys().map(String::as_str).collect()
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
