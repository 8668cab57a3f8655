//! One line a finding, for `grep` and for editors that understand `file:line:column:`.

use std::io::{self, Write};

use sekat_policy::{Diagnostic, Span};

use crate::severity_name;
use crate::text::visible;

pub(crate) fn render(out: &mut impl Write, findings: &[Diagnostic]) -> io::Result<()> {
    for finding in findings {
        let Span { file, line, column } = &finding.span;
        writeln!(
            out,
            "{}:{line}:{column}: {}[{}]: {}; help: {}",
            visible(file),
            severity_name(finding.severity),
            finding.code,
            visible(&finding.message),
            visible(&finding.help),
        )?;
    }
    Ok(())
}
