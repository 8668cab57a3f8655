//! A purchase as a story: what happened, in which domain, and what crossed the boundary.

use anstream::println;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// How output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
}

/// The whole story of one purchase.
#[derive(Debug, Serialize)]
pub(crate) struct Story {
    pub(crate) trace_id: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) order: String,
    pub(crate) payment_intent: String,
    pub(crate) total: String,
    pub(crate) ledger: Vec<LedgerLine>,
    pub(crate) elapsed_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jaeger: Option<String>,
    /// Values of the buyer and of the payment, each with the field that it was in: nobody else may come to see them.
    #[serde(skip)]
    pub(crate) private: Vec<(&'static str, String)>,
}

/// One step and who served it.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) domain: &'static str,
    pub(crate) method: String,
    pub(crate) outcome: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<String>,
    /// What crossed from the showcase to commerce, decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crossed: Option<serde_json::Value>,
}

/// One transfer of the ledger.
#[derive(Debug, Serialize)]
pub(crate) struct LedgerLine {
    pub(crate) kind: String,
    pub(crate) debit: String,
    pub(crate) credit: String,
    pub(crate) amount: String,
}

const SHOWCASE: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Magenta)));
const COMMERCE: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan)));
const OUTSIDE: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

impl Story {
    /// Writes it to stdout.
    pub(crate) fn print(&self, format: Format) -> anyhow::Result<()> {
        match format {
            Format::Json => println!("{}", serde_json::to_string_pretty(self)?),
            Format::Human => self.print_for_people()?,
        }
        Ok(())
    }

    fn print_for_people(&self) -> anyhow::Result<()> {
        for (index, step) in self.steps.iter().enumerate() {
            let style = match step.domain {
                "showcase" => SHOWCASE,
                "commerce" => COMMERCE,
                _ => OUTSIDE,
            };
            println!(
                "{:>2}. {style}{:<9}{style:#} {} {DIM}{}{DIM:#}",
                index + 1,
                step.domain,
                step.outcome,
                step.method
            );
            for detail in &step.details {
                println!("              {detail}");
            }
            if let Some(crossed) = &step.crossed {
                println!("              {BOLD}crosses the boundary, carried by the app:{BOLD:#}");
                for line in serde_json::to_string_pretty(crossed)?.lines() {
                    println!("              {line}");
                }
            }
        }
        println!();
        println!("order    {BOLD}{}{BOLD:#}  {}  PAID", self.order, self.total);
        println!("payment  {}", self.payment_intent);
        println!("ledger");
        for line in &self.ledger {
            println!("  {:<8} debit {:<34} credit {:<34} {:>14}", line.kind, line.debit, line.credit, line.amount);
        }
        println!("trace    {BOLD}{}{BOLD:#}", self.trace_id);
        if let Some(jaeger) = &self.jaeger {
            println!("         {jaeger}");
        }
        println!("time     {} ms from the showcase page to PAID", self.elapsed_ms);
        Ok(())
    }
}
