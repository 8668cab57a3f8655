//! For people: the message, the source line with a mark below the place, the mend, and where to read more.

use std::collections::HashMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use sekat_policy::{Diagnostic, Severity, Span};

use crate::text::visible;
use crate::{Context, count, page, severity_name};

/// Letters of a source line that are shown; policies have long lines, and terminals wrap them unreadably.
const SHOWN: usize = 110;
/// Letters of these that stand before the place.
const BEFORE: usize = 40;
const CUT: &str = "…";

struct Styles {
    error: Style,
    warning: Style,
    frame: Style,
    strong: Style,
}

impl Styles {
    const fn new(colour: bool) -> Self {
        if !colour {
            let none = Style::new();
            return Self { error: none, warning: none, frame: none, strong: none };
        }
        Self {
            error: AnsiColor::Red.on_default().bold(),
            warning: AnsiColor::Yellow.on_default().bold(),
            frame: AnsiColor::Blue.on_default().bold(),
            strong: Style::new().bold(),
        }
    }

    const fn of(&self, severity: Severity) -> Style {
        match severity {
            Severity::Error => self.error,
            Severity::Warning => self.warning,
        }
    }
}

pub(crate) fn render(out: &mut impl Write, findings: &[Diagnostic], context: &Context<'_>) -> io::Result<()> {
    let styles = Styles::new(context.colour);
    let mut sources: HashMap<&str, Option<String>> = HashMap::new();
    for finding in findings {
        let file = finding.span.file.as_str();
        let source = sources.entry(file).or_insert_with(|| (context.source)(file));
        one(out, finding, source.as_deref(), &styles)?;
    }
    let (errors, warnings) = count(findings);
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    if errors + warnings > 0 {
        let style = styles.of(if errors > 0 { Severity::Error } else { Severity::Warning });
        writeln!(out, "{style}{}, {}{style:#}", plural(errors, "error"), plural(warnings, "warning"))?;
    }
    Ok(())
}

fn one(out: &mut impl Write, finding: &Diagnostic, source: Option<&str>, styles: &Styles) -> io::Result<()> {
    let (style, frame, strong) = (styles.of(finding.severity), styles.frame, styles.strong);
    let (severity, code) = (severity_name(finding.severity), finding.code);
    writeln!(out, "{style}{severity}[{code}]{style:#}{strong}: {}{strong:#}", visible(&finding.message))?;
    let Span { file, line, column } = &finding.span;
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    match (file.as_str(), *line) {
        ("", _) => {}
        (file, 0) => writeln!(out, "{margin}{frame}-->{frame:#} {}", visible(file))?,
        (file, line) => writeln!(out, "{margin}{frame}-->{frame:#} {}:{line}:{column}", visible(file))?,
    }
    if let Some(excerpt) = source.and_then(|source| excerpt(source, *line, *column)) {
        writeln!(out, "{margin} {frame}|{frame:#}")?;
        writeln!(out, "{frame}{number} |{frame:#} {}", excerpt.line)?;
        writeln!(out, "{margin} {frame}|{frame:#} {}{style}{}{style:#}", excerpt.padding, excerpt.mark)?;
    }
    writeln!(out, "{margin} {frame}={frame:#} help: {}", visible(&finding.help))?;
    writeln!(out, "{margin} {frame}={frame:#} see {}\n", page(code))
}

/// The part of a line around a place, and the mark that goes below it.
struct Excerpt {
    line: String,
    padding: String,
    mark: String,
}

fn excerpt(source: &str, line: u32, column: u32) -> Option<Excerpt> {
    let text = source.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    // A tab is one letter wide here, as it is one column in a place.
    let letters: Vec<char> = text.trim_end().replace('\t', " ").chars().collect();
    let at = usize::try_from(column).ok()?.checked_sub(1)?.min(letters.len());
    let start = if letters.len() > SHOWN { at.saturating_sub(BEFORE) } else { 0 };
    let shown: String = letters.iter().skip(start).take(SHOWN).collect();
    let (before, after): (String, String) =
        (letters.iter().skip(start).take(at - start).collect(), letters.iter().skip(at).collect());
    let cut = |is_cut: bool| if is_cut { CUT } else { "" };
    let (left, right) = (cut(start > 0), cut(letters.len() > start + SHOWN));
    Some(Excerpt {
        line: format!("{left}{}{right}", visible(&shown)),
        padding: " ".repeat(left.chars().count() + visible(&before).chars().count()),
        mark: "^".repeat(word(&after).min(SHOWN.saturating_sub(at - start)).max(1)),
    })
}

/// How many letters the word at the start has: up to a space or a bracket.
fn word(text: &str) -> usize {
    let ends = |letter: char| letter.is_whitespace() || ",{}[]()\"".contains(letter);
    text.chars().take_while(|letter| !ends(*letter)).count()
}
