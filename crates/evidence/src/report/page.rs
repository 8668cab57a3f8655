//! The page: the verdict first, then what led to it.

use super::text::{self, Both};
use super::{Input, escape, picture, quoted};
use crate::layer::{Check, Layer, Verdict};
use crate::picture::Step;

/// Rows of one layer that stand in the page; what is more stands in the layer's file.
const ROWS: usize = 400;

/// Nothing is loaded from anywhere and nothing runs: the styles are the page's own.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

pub(super) fn page(input: &Input) -> String {
    let verdict = Verdict::of(&input.layers);
    let facts = &input.facts;
    let layers: String = input.layers.iter().map(layer).collect();
    let list =
        |items: &[String]| -> String { items.iter().map(|item| format!("<li>{}</li>", quoted::html(item))).collect() };
    let figures: String = facts.coverage.iter().map(|(name, count)| figure(name, *count)).collect();
    let terms: String = text::TERMS
        .iter()
        .map(|(term, meaning)| format!("<dt>{}</dt><dd>{}</dd>", said(*term), said(*meaning)))
        .collect();
    let previous = facts.previous.as_deref().unwrap_or("–");
    format!(
        r#"<!doctype html>
<html lang="id"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{title_id} / {title_en}</title><style>{style}</style></head>
<body><input class="lang" type="radio" name="lang" id="id" checked><input class="lang" type="radio" name="lang" id="en">
<header><div class="switch"><label for="id" lang="id" class="keep">Indonesia</label><label for="en" lang="en" class="keep">English</label></div>
<p class="title">{title}</p>
<div class="verdict {verdict}"><h1>{word}</h1><p>{sentence}</p>
<p><small>{scope}<br>{window}: {start} – {end}</small></p></div><p>{claim}</p></header>
<main>
<h2 id="picture">{picture_title}</h2><p class="soft">{picture_help}</p><div class="wide" tabindex="0" role="group" aria-labelledby="picture">{svg}</div>
<h2>{layers_title}</h2>{layers}
<h2>{timeline_title}</h2>{timeline}
<h2>{not_covered}</h2><p class="soft">{original}</p><ul>{not_covered_list}</ul>
<h2>{assumptions}</h2><ul>{assumptions_list}</ul>
<h2>{figures_title}</h2><dl>{figures}</dl>
<h2>{check}</h2><p>{check_help}</p><pre>sekat verify BUNDLE --key signer.pem</pre>
<dl><dt>{signer}</dt><dd class="mono">{fingerprint}</dd><dt>{previous_title}</dt><dd class="mono">{previous}</dd></dl>
<h2>{glossary}</h2><dl>{terms}</dl>
</main><footer>sekat {version}</footer></body></html>
"#,
        title_id = text::TITLE.id,
        title_en = text::TITLE.en,
        style = include_str!("style.css"),
        title = said(text::TITLE),
        claim = said(text::CLAIM),
        word = said(text::verdict(verdict)),
        sentence = said(text::sentence(verdict)),
        scope = quoted::html(&facts.scope),
        window = said(text::WINDOW),
        start = escape(&seconds(&facts.window_start)),
        end = escape(&seconds(&facts.window_end)),
        picture_title = said(text::PICTURE),
        picture_help = said(text::PICTURE_HELP),
        svg = picture::svg(&input.picture),
        layers_title = said(text::LAYERS),
        timeline_title = said(text::TIMELINE),
        timeline = timeline(input),
        not_covered = said(text::NOT_COVERED),
        original = said(text::ORIGINAL),
        not_covered_list = list(&facts.not_covered),
        assumptions = said(text::ASSUMPTIONS),
        assumptions_list = list(&facts.assumptions),
        figures_title = said(text::FIGURES),
        check = said(text::CHECK),
        check_help = said(text::CHECK_HELP),
        signer = said(text::SIGNER),
        fingerprint = escape(&input.fingerprint),
        previous_title = said(text::PREVIOUS),
        previous = escape(previous),
        glossary = said(text::GLOSSARY),
        version = escape(&facts.tool_version),
    )
}

/// A time for people: to the second, which RFC 3339 writes first. The statement keeps the rest.
fn seconds(time: &str) -> String {
    let parts = time.strip_suffix('Z').and_then(|time| time.split_once('T'));
    match parts.and_then(|(date, clock)| Some((date, clock.get(.."hh:mm:ss".len())?))) {
        Some((date, clock)) => format!("{date} {clock} UTC"),
        None => time.to_owned(),
    }
}

fn figure(name: &str, count: u64) -> String {
    let name = text::figure(name).map_or_else(|| format!("<span class=\"mono\">{}</span>", escape(name)), said);
    format!("<dt>{name}</dt><dd>{count}</dd>")
}

/// Both languages; the reader chooses which is seen.
pub(super) fn said(both: Both) -> String {
    format!("<span lang=\"id\">{}</span><span lang=\"en\">{}</span>", escape(both.id), escape(both.en))
}

fn layer(layer: &Layer) -> String {
    let (name, question) = text::layer(layer.name);
    let verdict = layer.verdict();
    let not_run = layer.not_run.as_deref().map_or_else(String::new, |why| {
        format!("<p><strong>{}</strong>: {}</p>", said(text::NOT_RUN), quoted::html(why))
    });
    let witnesses = layer.witnesses();
    let found = if witnesses.is_empty() { String::new() } else { table(&witnesses, layer) };
    let held: Vec<&Check> = layer.checks.iter().filter(|check| check.outcome == Verdict::Holds).collect();
    let held = if held.is_empty() {
        String::new()
    } else {
        let count = held.len();
        format!("<details><summary>{count} {}</summary>{}</details>", said(text::TRIED), table(&held, layer))
    };
    format!(
        "<section class=\"layer\"><div class=\"head\"><h3>{}</h3><span class=\"mark {verdict}\">{}</span></div>\
         <p>{}</p>{not_run}{found}{held}</section>",
        said(name),
        said(text::verdict(verdict)),
        said(question),
    )
}

fn table(checks: &[&Check], layer: &Layer) -> String {
    let row = |check: &&Check| {
        let code = check.code.as_deref().map_or_else(String::new, |code| format!("{} ", escape(code)));
        let place =
            check.place.as_deref().map_or_else(String::new, |place| format!("<br><small>{}</small>", escape(place)));
        format!(
            "<tr><td>{code}{}{place}</td><td>{}</td><td>{}</td></tr>",
            escape(&check.subject),
            escape(&check.expected),
            escape(&check.observed),
        )
    };
    let rows: String = checks.iter().take(ROWS).map(row).collect();
    let more = if checks.len() > ROWS {
        format!("<p class=\"soft\">{} <code>layers/{}.jsonl</code></p>", said(text::MORE), layer.name)
    } else {
        String::new()
    };
    format!(
        "<table><thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{}</th><th scope=\"col\">{}</th></tr>\
         </thead><tbody lang=\"en\" class=\"keep\">{rows}</tbody></table>{more}",
        said(text::SUBJECT),
        said(text::EXPECTED),
        said(text::OBSERVED),
    )
}

/// One row a call: who called whom, when, how long, and a bar in time.
fn timeline(input: &Input) -> String {
    let steps = &input.timeline.steps;
    let end = |step: &Step| step.start_us.saturating_add(step.duration_us);
    let whole = steps.iter().map(end).max().unwrap_or(0).max(1);
    let row = |step: &Step| {
        let width = step.duration_us.max(whole / 100);
        let status = if step.status == "OK" {
            String::new()
        } else {
            format!(" · <strong class=\"bad\">{}</strong>", escape(&step.status))
        };
        format!(
            "<li class=\"step\"><span class=\"mono\">{} → {}</span><span class=\"soft\">{}{status}</span>\
             <span class=\"soft time\">+{} · {}</span>\
             <svg class=\"{}\" viewBox=\"0 0 {whole} 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect x=\"{}\" y=\"1\" width=\"{width}\" height=\"8\"/></svg></li>",
            escape(&step.caller),
            escape(&step.workload),
            escape(&step.method),
            milliseconds(step.start_us),
            milliseconds(step.duration_us),
            if step.domain == "showcase" { "bar showcase" } else { "bar" },
            step.start_us.min(whole.saturating_sub(width)),
        )
    };
    let rows: String = steps.iter().map(row).collect();
    format!("<p class=\"soft mono\">{}</p><ol class=\"steps\">{rows}</ol>", escape(&input.timeline.trace_id))
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100)
}
