//! Reading all of a store that answers with "at most so many" and does not say when there were more: time is halved until
//! the halves together show exactly what the whole showed.

use std::collections::BTreeMap;
use std::ops::Range;

/// The traces of an answer, each with the number of its spans.
pub type Traces = BTreeMap<[u8; 16], usize>;

/// What a store answered for one slice of time.
#[derive(Clone, Debug)]
pub struct Answer<P> {
    /// What is in it.
    pub traces: Traces,
    /// The answer itself.
    pub payload: P,
}

/// Slices that stayed incomplete however small they were.
pub type Truncated = Vec<Range<u64>>;

/// Halvings of one slice: an hour becomes less than a nanosecond long before.
const DEPTH: u32 = 64;
/// Questions of one reading. Traces that last long and overlap, more of them than an answer holds, are in every slice
/// however small: without a bound, an hour of them would be asked for nanosecond by nanosecond.
const QUESTIONS: u32 = 20_000;

/// Reads `whole`, in any unit of time. `ask` queries a slice, its end excluded or not; `take` gets answers that are
/// complete, or as complete as they become. A trace that lies in two slices comes twice.
///
/// An answer of `limit` traces or more is never believed.
///
/// # Errors
/// The first of `ask` or `take`.
pub fn read<P, E>(
    whole: Range<u64>,
    limit: usize,
    ask: &mut impl FnMut(&Range<u64>) -> Result<Answer<P>, E>,
    take: &mut impl FnMut(P) -> Result<(), E>,
) -> Result<Truncated, E> {
    let mut truncated = Vec::new();
    let mut questions = QUESTIONS;
    let mut ask = |slice: &Range<u64>| {
        questions = questions.saturating_sub(1);
        Ok((ask(slice)?, questions > 0))
    };
    let (answer, _) = ask(&whole)?;
    halve(whole, answer, DEPTH, limit, &mut ask, take, &mut truncated)?;
    Ok(truncated)
}

fn halve<P, E>(
    slice: Range<u64>,
    answer: Answer<P>,
    depth: u32,
    limit: usize,
    ask: &mut impl FnMut(&Range<u64>) -> Result<(Answer<P>, bool), E>,
    take: &mut impl FnMut(P) -> Result<(), E>,
    truncated: &mut Truncated,
) -> Result<(), E> {
    let middle = slice.start + slice.end.saturating_sub(slice.start) / 2;
    if middle == slice.start || depth == 0 {
        if answer.traces.len() >= limit {
            truncated.push(slice);
        }
        return take(answer.payload);
    }
    let (early, late) = (slice.start..middle, middle..slice.end);
    let ((first, _), (second, may_ask)) = (ask(&early)?, ask(&late)?);
    let mut both = first.traces.clone();
    for (trace, spans) in &second.traces {
        let known = both.entry(*trace).or_default();
        *known = (*known).max(*spans);
    }
    let full = [&answer, &first, &second].into_iter().any(|answer| answer.traces.len() >= limit);
    if both == answer.traces && !full {
        return take(answer.payload);
    }
    let depth = if may_ask { depth - 1 } else { 0 };
    halve(early, first, depth, limit, ask, take, truncated)?;
    halve(late, second, depth, limit, ask, take, truncated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    /// Reads a store of traces at these times that shows at most `limit` of them; returns what came and what did not.
    fn read_all(times: &[u64], limit: usize) -> (BTreeSet<u64>, Truncated) {
        let mut came = BTreeSet::new();
        let mut ask = |slice: &Range<u64>| -> Result<Answer<Vec<u64>>, Infallible> {
            let inside = times.iter().enumerate().filter(|(_, at)| slice.contains(at));
            let shown: Vec<u64> = inside.map(|(index, _)| u64::try_from(index).unwrap()).take(limit).collect();
            let traces = shown.iter().map(|index| (u128::from(*index).to_be_bytes(), 1)).collect();
            Ok(Answer { traces, payload: shown })
        };
        let Ok(truncated) = read(0..1_000_000, limit, &mut ask, &mut |shown| {
            came.extend(shown);
            Ok(())
        });
        (came, truncated)
    }

    #[test]
    fn a_silent_limit_hides_nothing() {
        let times: Vec<u64> = (0..500).map(|index| index * 1_999).collect();
        let (came, truncated) = read_all(&times, 10);
        assert_eq!((came.len(), truncated), (500, vec![]));
        // Also if nearly all of them fall into one moment.
        let times: Vec<u64> = (0..500).map(|index| 777_000 + index).collect();
        let (came, truncated) = read_all(&times, 10);
        assert_eq!((came.len(), truncated), (500, vec![]));
    }

    #[test]
    fn what_a_store_cannot_show_is_named() {
        let (came, truncated) = read_all(&[5; 20], 10);
        assert_eq!((came.len(), truncated.as_slice()), (10, std::slice::from_ref(&(5..6))));
    }

    #[test]
    fn traces_that_last_and_overlap_are_named_within_a_bound() {
        let mut questions = 0;
        let mut ask = |_: &Range<u64>| -> Result<Answer<()>, Infallible> {
            questions += 1;
            Ok(Answer { traces: (0..10_u128).map(|trace| (trace.to_be_bytes(), 1)).collect(), payload: () })
        };
        let Ok(truncated) = read(0..3_600_000_000_000, 10, &mut ask, &mut |()| Ok(()));
        assert!(questions < QUESTIONS + 2 * DEPTH && questions > DEPTH, "{questions}");
        assert_eq!(truncated.iter().map(|slice| slice.end - slice.start).sum::<u64>(), 3_600_000_000_000);
    }

    #[test]
    fn an_empty_store_is_read_in_three_questions() {
        let mut questions = 0;
        let mut ask = |_: &Range<u64>| -> Result<Answer<()>, Infallible> {
            questions += 1;
            Ok(Answer { traces: Traces::new(), payload: () })
        };
        let Ok(truncated) = read(0..1_000_000, 10, &mut ask, &mut |()| Ok(()));
        assert_eq!((questions, truncated.len()), (3, 0));
    }
}
