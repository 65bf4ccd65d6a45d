//! Patterns compared with a slow matcher that follows the specification literally.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use stompd::engine::destination::{Destination, Pattern};
use stompd::engine::patterns::Patterns;
use stompd::engine::refusal::Refusal;

/// Whether a pattern matches a destination, both valid; tries each segment in all possible ways.
pub(crate) fn sees(pattern: &str, destination: &str) -> bool {
    go(&cut(pattern), &cut(destination))
}

/// A separator and the segment after it.
type Cut = Vec<(char, String)>;

fn go(pattern: &[(char, String)], destination: &[(char, String)]) -> bool {
    let Some(((separator, text), rest)) = pattern.split_first() else {
        return destination.is_empty();
    };
    // "A separator in a pattern matches only itself."
    let separated = destination
        .first()
        .is_some_and(|(other, _)| other == separator);
    match text.as_str() {
        "#" | "**" => many(separated, rest, destination),
        ">" if rest.is_empty() => many(separated, rest, destination),
        "*" => separated && go(rest, &destination[1..]),
        _ => separated && destination[0].1 == *text && go(rest, &destination[1..]),
    }
}

/// "Zero or more together with the separator before them, whatever separators lie between."
fn many(separated: bool, rest: &[(char, String)], destination: &[(char, String)]) -> bool {
    let most = if separated { destination.len() } else { 0 };
    (0..=most).any(|skip| go(rest, &destination[skip..]))
}

fn cut(text: &str) -> Cut {
    let (mut all, mut name) = (Vec::new(), text);
    if let Some(rest) = text.strip_prefix('/') {
        let end = rest.find('/').unwrap_or(rest.len());
        all.push(('/', rest[..end].to_owned()));
        name = &rest[end..];
    } else {
        all.push((' ', String::new()));
    }
    for letter in name.chars() {
        if matches!(letter, '.' | '/') {
            all.push((letter, String::new()));
        } else if let Some((_, last)) = all.last_mut() {
            last.push(letter);
        }
    }
    all
}

/// Whether the specification accepts a text as a pattern, and whether it has a wildcard.
fn judge(text: &str) -> (bool, bool) {
    let segments = cut(text);
    let last = segments.len() - 1;
    let is_many =
        |at: usize, text: &str| matches!(text, "#" | "**") || (text == ">" && at == last && at > 0);
    let many = (0..=last)
        .filter(|&at| is_many(at, &segments[at].1))
        .count();
    let wild = many > 0 || segments.iter().any(|(_, text)| text == "*");
    let first = segments[0].1.as_str();
    let named = if text.starts_with('/') {
        last > 1 || segments.get(1).is_some_and(|(_, text)| !text.is_empty())
    } else {
        !text.is_empty()
    };
    let valid = named && !matches!(first, "*" | "#" | "**" | ">") && many <= 4;
    (valid, wild)
}

fn text(segments: &'static [&'static str]) -> impl Strategy<Value = String> {
    let step = (select(&['.', '/'][..]), select(segments));
    let first = select(&["/topic/", "/t.x/", "/a/", "//", "/", ""][..]);
    (first, select(segments), vec(step, 0..7)).prop_map(|(first, second, steps)| {
        let mut text = format!("{first}{second}");
        for (separator, segment) in steps {
            text.push(separator);
            text.push_str(segment);
        }
        text
    })
}

fn pattern() -> impl Strategy<Value = String> {
    text(&["a", "b", "", "*", "#", "**", ">", "a*", "C#", "***"])
}

fn destination() -> impl Strategy<Value = String> {
    text(&["a", "b", "", "a", "a*", "C#"])
}

fn wild(text: &str) -> Option<Destination> {
    match Pattern::parse(text) {
        Ok(Pattern::Wild(pattern) | Pattern::Exact(pattern)) => Some(pattern),
        Err(_) => None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize),
    Remove(usize),
    Match(String),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_usize..12).prop_map(Step::Insert),
        2 => (0_usize..12).prop_map(Step::Remove),
        4 => destination().prop_map(Step::Match),
    ]
}

proptest! {
    #[test]
    fn invalid_patterns_are_refused(text in pattern()) {
        let (valid, wild) = judge(&text);
        match Pattern::parse(&text) {
            Ok(Pattern::Exact(_)) => prop_assert!(valid && !wild, "{}", text),
            Ok(Pattern::Wild(_)) => prop_assert!(valid && wild, "{}", text),
            Err(refusal) => prop_assert!(!valid, "{}: {}", text, refusal),
        }
        match Destination::parse(&text) {
            Ok(_) => prop_assert!(valid && !wild, "{}", text),
            Err(Refusal::WildcardInSend(_)) => prop_assert!(valid && wild, "{}", text),
            Err(refusal) => prop_assert!(!valid, "{}: {}", text, refusal),
        }
    }

    #[test]
    fn each_value_is_found_once_after_any_history(
        pool in vec(pattern(), 12),
        steps in vec(step(), 1..60),
    ) {
        let pool: Vec<_> = pool.iter().map(|text| (text, wild(text))).collect();
        let mut patterns = Patterns::new(1000);
        let mut model = BTreeMap::new();
        for (turn, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(at) => {
                    let (text, Some(pattern)) = &pool[at] else { continue };
                    prop_assert_eq!(patterns.get(pattern), model.get(*text));
                    if patterns.get(pattern).is_none() {
                        prop_assert!(patterns.insert(pattern, turn).is_ok());
                        model.insert(*text, turn);
                    }
                }
                Step::Remove(at) => {
                    let (text, Some(pattern)) = &pool[at] else { continue };
                    prop_assert_eq!(patterns.remove_if(pattern, |_| true), model.remove(*text));
                }
                Step::Match(text) => {
                    let Ok(destination) = Destination::parse(&text) else { continue };
                    let mut found = Vec::new();
                    patterns.matches(&destination, |value| found.push(*value));
                    found.sort_unstable();
                    let mut expected: Vec<_> =
                        model.iter().filter(|(pattern, _)| sees(pattern, &text)).map(|(_, value)| *value).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected, "{} in {:?}", text, model);
                }
            }
            prop_assert_eq!(patterns.len(), model.len());
        }
        for (text, value) in model {
            prop_assert_eq!(patterns.remove_if(&wild(text).unwrap(), |_| true), Some(value));
        }
        prop_assert!(patterns.is_empty());
        prop_assert_eq!(patterns.cost(), 0);
    }

    #[test]
    fn one_pattern_matches_as_specified(pattern in pattern(), destination in destination()) {
        let (Some(parsed), Ok(sent)) = (wild(&pattern), Destination::parse(&destination)) else {
            return Ok(());
        };
        let mut patterns = Patterns::new(100);
        prop_assert!(patterns.insert(&parsed, ()).is_ok());
        let mut found = 0;
        patterns.matches(&sent, |()| found += 1);
        prop_assert_eq!(found, usize::from(sees(&pattern, &destination)));
    }
}

#[test]
fn the_examples_of_the_rule() {
    for (pattern, destination, expected) in [
        ("/topic/#", "/topic/a.b/c", true),
        ("/topic/a.#", "/topic/a", true),
        ("/topic/a.#", "/topic/a.b/c", true),
        ("/topic/a.#", "/topic/a/b", false),
        ("/topic/a.*", "/topic/a.", true),
        ("/topic/a.*", "/topic/a.b", true),
        ("/topic/a.*", "/topic/a/b", false),
        ("/topic/a.*", "/topic/a", false),
        ("/topic/**.c", "/topic/a.b.c", true),
        ("/topic/#.c", "/topic/.c", true),
        ("/topic/>", "/topic/a/b", true),
        ("/topic/a..*", "/topic/a..b", true),
        ("/topic/*/b", "/topic//b", true),
        ("a.>", "a", true),
        ("a.*", "a.b", true),
        ("topic/*", "/topic/a", false),
    ] {
        assert_eq!(
            sees(pattern, destination),
            expected,
            "{pattern} {destination}"
        );
        let mut patterns = Patterns::new(100);
        patterns.insert(&wild(pattern).unwrap(), ()).unwrap();
        let mut found = false;
        patterns.matches(&Destination::parse(destination).unwrap(), |()| found = true);
        assert_eq!(found, expected, "{pattern} {destination}");
    }
    for refused in [
        "*", "#", "**", ">", "*.eu", "/#", "/*/a", "/topic", "/topic/", "/queue/", "/queue/*",
    ] {
        assert!(Pattern::parse(refused).is_err(), "{refused}");
    }
    for literal in [
        "/topic/C#",
        "/topic/a*",
        "/topic/a.>.b",
        "/topic/a..b",
        "/topic/a.",
    ] {
        assert!(
            matches!(Pattern::parse(literal), Ok(Pattern::Exact(_))),
            "{literal}"
        );
        assert!(Destination::parse(literal).is_ok(), "{literal}");
    }
}
