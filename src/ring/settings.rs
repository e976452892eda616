//! What may be set for a queue, and where each setting comes from.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// What [`Settings::max_len`] may be. Positions are JSON numbers, exact in every client up to 2^53; the bound stays well below.
pub const MAX_LEN: RangeInclusive<u64> = 1..=1_000_000_000_000;
/// What [`Settings::history`] may be. The whole history is one answer to a subscriber, built in memory.
pub const HISTORY: RangeInclusive<u64> = 0..=10_000;

/// The settings of a queue in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Slots of the ring: how many unread messages fit. At least 1.
    pub max_len: u64,
    /// How many of the last messages are kept for look-back, read or not.
    pub history: u64,
    /// What becomes of a put when no more fit.
    pub overflow: Overflow,
}

/// What becomes of a put to a work queue that is full. A topic is never full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It is refused.
    #[default]
    Reject,
    /// The oldest unread message goes, and it is stored.
    DropOldest,
}

/// The settings that a queue was given at run time. They are stored with it and win over those of the configuration; what is `None`
/// comes from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// See [`Settings::max_len`].
    pub max_len: Option<u64>,
    /// See [`Settings::history`].
    pub history: Option<u64>,
    /// See [`Settings::overflow`].
    pub overflow: Option<Overflow>,
}

/// A change of [`Own`]: what is `None` stays, `Some(None)` is given back to the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// See [`Settings::max_len`].
    pub max_len: Option<Option<u64>>,
    /// See [`Settings::history`].
    pub history: Option<Option<u64>>,
    /// See [`Settings::overflow`].
    pub overflow: Option<Option<Overflow>>,
}

impl Overflow {
    /// All of them.
    pub const ALL: [Overflow; 2] = [Overflow::Reject, Overflow::DropOldest];

    /// As a setting, and to people.
    pub fn name(self) -> &'static str {
        match self {
            Overflow::Reject => "reject",
            Overflow::DropOldest => "drop_oldest",
        }
    }
}

impl Own {
    /// Whether every value is one that may be set.
    pub fn is_valid(&self) -> bool {
        self.max_len.is_none_or(|max_len| MAX_LEN.contains(&max_len))
            && self.history.is_none_or(|history| HISTORY.contains(&history))
    }

    /// The settings in force over those that the configuration has for the queue.
    pub fn over(&self, configured: Settings) -> Settings {
        Settings {
            max_len: self.max_len.unwrap_or(configured.max_len),
            history: self.history.unwrap_or(configured.history),
            overflow: self.overflow.unwrap_or(configured.overflow),
        }
    }
}

impl Change {
    /// What a queue's own settings are after the change.
    pub fn of(&self, own: Own) -> Own {
        Own {
            max_len: self.max_len.unwrap_or(own.max_len),
            history: self.history.unwrap_or(own.history),
            overflow: self.overflow.unwrap_or(own.overflow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_its_own_wins_until_it_is_given_back() {
        let configured = Settings { max_len: 7, history: 3, overflow: Overflow::DropOldest };
        let own = Own { max_len: Some(9), overflow: Some(Overflow::Reject), ..Own::default() };
        assert_eq!(own.over(configured), Settings { max_len: 9, history: 3, overflow: Overflow::Reject });
        let change = Change { max_len: Some(None), history: Some(Some(0)), overflow: None };
        let own = change.of(own);
        assert_eq!(own, Own { max_len: None, history: Some(0), overflow: Some(Overflow::Reject) });
        assert_eq!(own.over(configured).max_len, 7);
        assert_eq!((Own::default().over(configured), Change::default().of(own)), (configured, own));
        let wrong = [Own { max_len: Some(0), ..own }, Own { history: Some(10_001), ..own }];
        assert!(own.is_valid() && !wrong.iter().any(Own::is_valid));
    }
}
