//! How a command ends: an exit code and, if it failed, one sentence with what to do next.

use std::fmt;
use std::process::ExitCode;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked: exit code 0.
    Done,
    /// It worked and found nothing: exit code 3.
    NothingFound,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    sentence: String,
}

impl Failure {
    /// It could not be done: exit code 1. `sentence` says what to do next and ends without a full stop.
    pub fn failed(sentence: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, sentence: sentence.into() }
    }

    /// It was asked wrongly: exit code 2.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, sentence: sentence.into() }
    }

    /// Whoever read the output has enough of it: ends quietly with exit code 0.
    pub fn reader_gone() -> Self {
        Self { kind: Kind::ReaderGone, sentence: String::new() }
    }

    /// Nothing is to be said.
    pub fn is_silent(&self) -> bool {
        self.kind == Kind::ReaderGone
    }

    /// A command of the plan whose room does not exist yet: exit code 1.
    pub fn not_built(command: &str) -> Self {
        Self::failed(format!("`{command}` is not built yet; `dht-hunter --help` lists the commands that are"))
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Failed => ExitCode::from(1),
            Kind::ReaderGone => ExitCode::SUCCESS,
            Kind::Usage => ExitCode::from(2),
        }
    }
}

impl Outcome {
    /// The process's exit code.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::NothingFound => ExitCode::from(3),
        }
    }

    /// `Done` if there was something.
    pub fn found(something: bool) -> Self {
        if something { Self::Done } else { Self::NothingFound }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    ReaderGone,
    Usage,
}
