//! Which queues a token is for. Pure.

/// A name, or names with anything in place of each `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// More than any name needs: names have 255 bytes at most.
pub const MAX_PATTERN_BYTES: usize = 512;

impl Pattern {
    /// Reads a pattern; `None` when no name could ever fit it: empty, too long, or with control characters.
    pub fn parse(text: &str) -> Option<Pattern> {
        let is_wrong = text.is_empty() || text.len() > MAX_PATTERN_BYTES || text.chars().any(char::is_control);
        (!is_wrong).then(|| Pattern(text.to_owned()))
    }

    /// Whether a name fits. `*` stands for any characters, none included; all else for itself.
    pub fn fits(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut seen) = (0, 0);
        // Behind the last star, and how far the name was when it took nothing yet.
        let mut star = None;
        loop {
            match (pattern.get(at), name.get(seen)) {
                (Some(b'*'), _) => {
                    at += 1;
                    star = Some((at, seen));
                }
                (Some(expected), Some(is)) if expected == is => (at, seen) = (at + 1, seen + 1),
                (None, None) => return true,
                // The last star takes one more. What was in front of it fits as early as it can, which leaves the most to it.
                (_, Some(_)) => match &mut star {
                    Some((behind, from)) => {
                        *from += 1;
                        (at, seen) = (*behind, *from);
                    }
                    None => return false,
                },
                (Some(_), None) => return false,
            }
        }
    }

    /// Whether every name fits.
    pub fn is_all(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().fits(name)
    }

    #[test]
    fn a_star_stands_for_any_characters_and_all_else_for_itself() {
        for (pattern, yes, no) in [
            ("jobs", &["jobs"][..], &["job", "jobs2", "Jobs", "", "a.jobs"][..]),
            ("mail.*", &["mail.", "mail.in", "mail.a.b"], &["mail", "xmail.in"]),
            ("*", &["", "a", "é 世"], &[]),
            ("*.log", &[".log", "a.log", "a.log.log"], &["log", "a.log2"]),
            ("a*b*c", &["abc", "a1b2c", "abbcc", "acbc"], &["ab", "acb", "abcd"]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("é*", &["é世"], &["e"]),
            ("a?[b].c", &["a?[b].c"], &["axb.c", "a?bxc"]),
        ] {
            yes.iter().for_each(|name| assert!(fits(pattern, name), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!fits(pattern, name), "{pattern} {name}"));
        }
    }

    #[test]
    fn what_no_name_could_fit_is_no_pattern() {
        for text in ["", "a\n", "\u{7f}", &"a".repeat(MAX_PATTERN_BYTES + 1)] {
            assert_eq!(Pattern::parse(text), None, "{text:?}");
        }
        assert!(Pattern::parse("**").unwrap().is_all() && !Pattern::parse("*a").unwrap().is_all());
    }

    /// By the definition: a star takes nothing, or one more character.
    fn model(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => model(rest, name) || (!name.is_empty() && model(pattern, &name[1..])),
            ([p, pattern @ ..], [n, name @ ..]) => p == n && model(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_as_their_definition_says(pattern in "[ab*]{1,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(fits(&pattern, &name), model(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn a_name_with_parts_made_stars_still_fits(parts in proptest::collection::vec("[a-c.é]{0,4}", 1..6), stars in any::<u8>()) {
            let is_star = |at: usize| stars >> at & 1 == 1;
            let pattern: String = parts.iter().enumerate().map(|(at, part)| if is_star(at) { "*" } else { part }).collect();
            if let Some(pattern) = Pattern::parse(&pattern) {
                prop_assert!(pattern.fits(&parts.concat()), "{:?}", pattern);
            }
        }
    }
}
