//! A simple lexer of Rust source: separates code from comments and literals.

/// The same text with spaces in place of comments and of the content of literals. Positions of lines stay the same.
pub fn blanked(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = literal_end(&letters, at).unwrap_or(at);
        if end == at {
            out.push(letters[at]);
            at += 1;
            continue;
        }
        letters[at..end].iter().for_each(|letter| out.push(if *letter == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Whether `letter` may be part of an identifier.
pub fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The end of the comment or literal that begins at `at`; `None` if none begins there.
fn literal_end(letters: &[char], at: usize) -> Option<usize> {
    let starts = |word: &str| letters[at..].iter().take(word.len()).copied().eq(word.chars());
    let find = |from: usize, word: &str| {
        let word: Vec<char> = word.chars().collect();
        (from..letters.len()).find(|index| letters[*index..].starts_with(&word)).map_or(letters.len(), |index| index + word.len())
    };
    if starts("//") {
        return Some(find(at, "\n") - usize::from(letters[at..].contains(&'\n')));
    }
    if starts("/*") {
        return Some(find(at + 2, "*/"));
    }
    let begins_a_word = at == 0 || !is_word(letters[at - 1]);
    if begins_a_word && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
        let prefix = letters[at..].iter().take_while(|letter| is_word(**letter)).count();
        let hashes = letters[at + prefix..].iter().take_while(|letter| **letter == '#').count();
        let quote = at + prefix + hashes;
        return (letters.get(quote) == Some(&'"')).then(|| find(quote + 1, &format!("\"{}", "#".repeat(hashes))));
    }
    match (letters[at], letters.get(at + 1), letters.get(at + 2)) {
        ('"', ..) => Some(quoted_end(letters, at)),
        ('\'', Some('\\'), _) => Some(quoted_end(letters, at)),
        ('\'', Some(_), Some('\'')) => Some(at + 3),
        _ => None,
    }
}

/// The end of the literal whose opening quotation mark is at `at`.
fn quoted_end(letters: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < letters.len() && letters[end] != letters[at] {
        end += if letters[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(letters.len())
}

/// `a::{b, c::{self, d as e}}` as `a::b`, `a::c`, `a::c::d`.
pub fn spelled_out(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        return vec![path.strip_suffix("::self").unwrap_or(path).to_owned()];
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in inside.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(letter),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| spelled_out(&format!("{head}{}", part.trim()))).collect()
}

/// The paths in a line of code that begin at `crate`, `super`, `self` or a crate's own name.
pub fn rooted_paths<'a>(line: &'a str, krate: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("::") {
        let start = line[..at].rfind(|letter: char| !is_word(letter)).map_or(0, |index| index + 1);
        let follows_a_path = line[..start].ends_with("::");
        let is_visibility = line[..start].ends_with("in ") && line[..start].contains("pub(in ");
        if !follows_a_path && !is_visibility && ["crate", "super", "self", krate].contains(&&line[start..at]) {
            let end = line[at..].find(|letter: char| !is_word(letter) && letter != ':').map_or(line.len(), |length| at + length);
            found.push(line[start..end].trim_end_matches(':'));
        }
    }
    found
}

/// The name of the function that a line of code begins, if it begins one.
pub fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start();
    while let Some(rest) =
        ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "].iter().find_map(|word| words.strip_prefix(word))
    {
        words = rest.trim_start();
    }
    words.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// The lines of the item that begins with the first line, up to the end of its body.
pub fn item_lines<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let (mut depth, mut opened) = (0_i32, false);
    let mut taken = Vec::new();
    for line in lines {
        taken.push(*line);
        for letter in line.chars() {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            opened |= letter == '{';
        }
        if (opened && depth == 0) || (!opened && line.trim_end().ends_with(';')) {
            break;
        }
    }
    taken
}

/// Whether the body of a function is one `match` and nothing else.
pub fn is_one_match(function: &[&str]) -> bool {
    let body = function.join("\n");
    let body = body.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(body, _)| body.trim());
    let mut depth = 0_i32;
    let ends = body.char_indices().filter_map(|(index, letter)| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        (letter == '}' && depth == 0).then_some(index)
    });
    body.starts_with("match ") && ends.into_iter().next() == Some(body.len() - 1)
}

#[test]
fn comments_and_literals_are_not_code() {
    let code = blanked("let a = \"}//\"; // {\nlet b = '{'; let c: &'static str = r#\"\"}\"#; /* } */ x('\\'', \"\\\"{\")");
    assert!(!code.contains(['{', '}', '/']) && code.contains("&'static str") && code.lines().count() == 2, "{code}");
}

#[test]
fn paths_are_found_and_spelled_out() {
    assert_eq!(spelled_out("a::{b, c::{self, d as e}, f::*}"), ["a::b", "a::c", "a::c::d", "a::f::*"]);
    let line = "pub(in crate::hub) fn a(b: &crate::hub::Hub, c: super::d::E) -> other::crate_::F { belfry::hub::g::<self::H>() }";
    assert_eq!(rooted_paths(line, "belfry"), ["crate::hub::Hub", "super::d::E", "belfry::hub::g", "self::H"]);
}

#[test]
fn functions_and_their_lines_are_found() {
    assert_eq!(function_name("    pub(crate) const fn deep<T>(a: T) {"), Some("deep"));
    assert_eq!(item_lines(&["fn a() {", "b", "}", "fn c() {}"]).len(), 3);
    assert!(is_one_match(&["fn a() {", "match x {", "A => {}", "}", "}"]));
    assert!(!is_one_match(&["fn a() {", "match x { A => {} }", "b();", "}"]));
}
