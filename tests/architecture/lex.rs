//! Just enough of Rust's grammar to find paths, functions and tests in a file's text.

/// One file under `src/`.
pub struct Source {
    /// Relative to `src/`, with `/`.
    pub path: String,
    /// It opens with `//!`.
    pub starts_with_purpose: bool,
    /// Lines that are not part of tests.
    pub code_lines: usize,
    /// Every path, `use` groups taken apart.
    pub paths: Vec<CodePath>,
    /// Every function outside tests.
    pub functions: Vec<Function>,
    /// What would let code slip past the checks.
    pub faults: Vec<Fault>,
    /// Files of this name hold tests only: `#[cfg(test)] mod name;`.
    test_modules: Vec<String>,
}

pub struct CodePath {
    pub line: usize,
    pub segments: Vec<String>,
    pub in_test: bool,
    /// The module that it stands in, from the root of the crate.
    module: Vec<String>,
}

pub struct Function {
    pub line: usize,
    pub name: String,
    pub lines: usize,
}

pub struct Fault {
    pub line: usize,
    pub what: &'static str,
}

impl Source {
    /// Reads a file; `path` is relative to `src/`.
    pub fn new(path: &str, text: &str) -> Self {
        let mut tokens = tokens(text);
        let test_lines = mark_tests(&mut tokens);
        let mut source = Self {
            path: path.to_owned(),
            starts_with_purpose: text.starts_with("//!"),
            code_lines: text.lines().count().saturating_sub(test_lines),
            paths: Vec::new(),
            functions: functions(&tokens),
            faults: Vec::new(),
            test_modules: test_modules(&tokens),
        };
        source.read_paths(&tokens);
        source.read_faults(&tokens);
        source
    }

    /// The room that the file belongs to; none for `lib.rs` and `main.rs`.
    pub fn room(&self) -> Option<&str> {
        match self.path.split_once('/') {
            Some((room, _)) => Some(room),
            None => self.path.strip_suffix(".rs").filter(|name| !matches!(*name, "lib" | "main")),
        }
    }

    /// The rooms that the file names, with the line.
    pub fn arrows(&self) -> Vec<(usize, &str)> {
        self.paths.iter().filter_map(|path| Some((path.line, path.target()?))).collect()
    }

    fn module(&self) -> Vec<String> {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let parts = path.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
        parts.map(str::to_owned).collect()
    }

    fn read_paths(&mut self, tokens: &[Token]) {
        let mut module = self.module();
        let mut inline: Vec<usize> = Vec::new();
        let (mut depth, mut at) = (0usize, 0usize);
        while at < tokens.len() {
            match tokens[at].text.as_str() {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        module.pop();
                    }
                }
                "mod" if text(tokens, at + 2) == "{" => {
                    module.push(tokens[at + 1].text.clone());
                    inline.push(depth);
                    at += 1;
                }
                _ if tokens[at].is_word() => {
                    at = self.read_tree(tokens, at, Vec::new(), &module);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads `a::b::{c, d}` from `at` on; the index behind it.
    fn read_tree(
        &mut self,
        tokens: &[Token],
        mut at: usize,
        mut stem: Vec<String>,
        module: &[String],
    ) -> usize {
        let (line, in_test) = (tokens[at].line, tokens[at].in_test);
        stem.push(tokens[at].text.clone());
        while text(tokens, at + 1) == "::" {
            let next = text(tokens, at + 2);
            if next == "{" {
                return self.read_group(tokens, at + 3, &stem, module);
            }
            if next != "*" && !tokens.get(at + 2).is_some_and(Token::is_word) {
                break;
            }
            stem.push(next.to_owned());
            at += 2;
        }
        let path = CodePath { line, segments: stem, in_test, module: module.to_vec() };
        if path.is_bare_root() && text(tokens, at + 1) == "as" {
            self.faults.push(Fault { line, what: "imports the root under another name" });
        }
        if path.target() == Some("*") {
            self.faults.push(Fault { line, what: "imports everything from the root" });
        }
        self.paths.push(path);
        at + 1
    }

    fn read_group(&mut self, tokens: &[Token], mut at: usize, stem: &[String], module: &[String]) -> usize {
        while at < tokens.len() {
            match tokens[at].text.as_str() {
                "}" => return at + 1,
                "as" => at += 2,
                "*" => {
                    let mut segments = stem.to_vec();
                    segments.push("*".to_owned());
                    let (line, in_test) = (tokens[at].line, tokens[at].in_test);
                    self.paths.push(CodePath { line, segments, in_test, module: module.to_vec() });
                    at += 1;
                }
                _ if tokens[at].is_word() => at = self.read_tree(tokens, at, stem.to_vec(), module),
                _ => at += 1,
            }
        }
        at
    }

    fn read_faults(&mut self, tokens: &[Token]) {
        for (at, token) in tokens.iter().enumerate() {
            let what = match token.text.as_str() {
                "extern" if text(tokens, at + 1) == "crate" => "uses `extern crate`",
                "include" if text(tokens, at + 1) == "!" => "pulls code in with `include!`",
                "path" if at >= 2 && text(tokens, at - 1) == "[" && text(tokens, at - 2) == "#" => {
                    "moves a module with `#[path]`"
                }
                _ => continue,
            };
            self.faults.push(Fault { line: token.line, what });
        }
    }
}

impl CodePath {
    /// The room that the path leads into, if it starts at the root of the crate.
    fn target(&self) -> Option<&str> {
        let (rest, module) = self.walk();
        if !module.is_empty() || rest.len() == self.segments.len() {
            return None;
        }
        rest.first().map(String::as_str)
    }

    fn is_bare_root(&self) -> bool {
        let (rest, module) = self.walk();
        module.is_empty() && rest.is_empty()
    }

    /// What is left of the path after `crate`, `self` and `super`, and the module it goes on from.
    fn walk(&self) -> (&[String], &[String]) {
        let mut rest = self.segments.as_slice();
        let mut module = self.module.as_slice();
        while let Some((first, tail)) = rest.split_first() {
            match first.as_str() {
                "crate" | "dht_hunter" => module = &[],
                "super" => module = &module[..module.len().saturating_sub(1)],
                "self" => {}
                _ => break,
            }
            rest = tail;
        }
        (rest, module)
    }
}

/// Files that a `#[cfg(test)] mod name;` pulls in hold tests only.
pub fn mark_test_files(files: &mut [Source]) {
    let mut tests: Vec<Vec<String>> = Vec::new();
    for file in files.iter() {
        for name in &file.test_modules {
            let mut module = file.module();
            module.push(name.clone());
            tests.push(module);
        }
    }
    for file in files {
        let module = file.module();
        if tests.iter().any(|test| module.starts_with(test)) {
            file.code_lines = 0;
            file.functions.clear();
            file.paths.iter_mut().for_each(|path| path.in_test = true);
        }
    }
}

struct Token {
    line: usize,
    text: String,
    in_test: bool,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// Words, `::` and single signs; comments, literals and lifetimes are left out.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut out: Vec<Token> = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => find(&chars, at, '\n'),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at + 1),
            '\'' => quote_end(&chars, at),
            c if c.is_alphanumeric() || c == '_' => word_end(&chars, at),
            ':' if chars.get(at + 1) == Some(&':') => at + 2,
            _ => at + 1,
        };
        let piece: String = chars[at..end].iter().collect();
        if !piece.starts_with([' ', '\n', '\t', '\r', '"', '\''])
            && !piece.starts_with("//")
            && !piece.starts_with("/*")
            && !piece.contains('"')
        {
            let text = piece.strip_prefix("r#").map_or_else(|| piece.clone(), str::to_owned);
            out.push(Token { line, text, in_test: false });
        }
        line += piece.matches('\n').count();
        at = end;
    }
    out
}

fn find(chars: &[char], from: usize, wanted: char) -> usize {
    chars[from..].iter().position(|c| *c == wanted).map_or(chars.len(), |offset| from + offset)
}

fn comment_end(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0usize, from);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => depth += 1,
            ('*', Some('/')) => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// A character literal or a lifetime.
fn quote_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => (find(chars, at + 3, '\'') + 1).min(chars.len()),
        (_, Some('\'')) => at + 3,
        _ => word_end(chars, at + 1).max(at + 1),
    }
}

/// A word, or the string that `r`, `b`, `c` and their pairs open.
fn word_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
        at += 1;
    }
    let word: String = chars[from..at].iter().collect();
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    let quoted = chars.get(at + hashes) == Some(&'"');
    match word.as_str() {
        "r" | "br" | "cr" if quoted => raw_end(chars, at + hashes + 1, hashes),
        "b" | "c" if quoted && hashes == 0 => string_end(chars, at + 1),
        "r" if hashes == 1 => word_end(chars, at + 1),
        _ => at,
    }
}

fn raw_end(chars: &[char], mut at: usize, hashes: usize) -> usize {
    loop {
        at = find(chars, at, '"') + 1;
        if at >= chars.len() {
            return chars.len();
        }
        if chars[at..].iter().take_while(|c| **c == '#').count() >= hashes {
            return at + hashes;
        }
    }
}

/// Marks what stands under `#[cfg(test)]` or `#[test]`; how many lines that is.
fn mark_tests(tokens: &mut [Token]) -> usize {
    let mut lines = 0;
    let mut at = 0;
    while at < tokens.len() {
        let Some(attribute_end) = test_attribute(tokens, at) else {
            at += 1;
            continue;
        };
        let end = item_end(tokens, attribute_end);
        tokens[at..end].iter_mut().for_each(|token| token.in_test = true);
        lines += tokens[end - 1].line - tokens[at].line + 1;
        at = end;
    }
    lines
}

/// If an attribute that means "only in tests" starts at `at`, the index behind it.
fn test_attribute(tokens: &[Token], at: usize) -> Option<usize> {
    if text(tokens, at) != "#" || text(tokens, at + 1) != "[" {
        return None;
    }
    let close = (at..tokens.len()).find(|i| text(tokens, *i) == "]")?;
    let words: Vec<&str> = tokens[at + 2..close].iter().map(|token| token.text.as_str()).collect();
    let for_tests = match words.first() {
        Some(&"test") => words.len() == 1,
        Some(&"cfg") => words.contains(&"test") && !words.contains(&"not") && !words.contains(&"any"),
        _ => false,
    };
    for_tests.then_some(close + 1)
}

/// The index behind the item that starts at `from`: its `;` or its closing brace.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut nesting = 0usize;
    for at in from..tokens.len() {
        match text(tokens, at) {
            "(" | "[" => nesting += 1,
            ")" | "]" => nesting = nesting.saturating_sub(1),
            ";" if nesting == 0 => return at + 1,
            "{" if nesting == 0 => return block_end(tokens, at),
            _ => {}
        }
    }
    tokens.len()
}

/// The index behind the brace that closes the one at `open`.
fn block_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for at in open..tokens.len() {
        match text(tokens, at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

fn functions(tokens: &[Token]) -> Vec<Function> {
    let mut out = Vec::new();
    for at in 0..tokens.len() {
        let is_function = text(tokens, at) == "fn" && tokens.get(at + 1).is_some_and(Token::is_word);
        if is_function && !tokens[at].in_test {
            let end = item_end(tokens, at);
            let lines = tokens[end - 1].line - tokens[at].line + 1;
            out.push(Function { line: tokens[at].line, name: text(tokens, at + 1).to_owned(), lines });
        }
    }
    out
}

fn test_modules(tokens: &[Token]) -> Vec<String> {
    let declared =
        |at: &usize| tokens[*at].in_test && text(tokens, *at) == "mod" && text(tokens, at + 2) == ";";
    (0..tokens.len()).filter(declared).map(|at| text(tokens, at + 1).to_owned()).collect()
}
