//! Programs and tests share one build. Cargo gives a crate the features that all of a build's members ask for together,
//! and test-only dependencies ask only when tests are built: a feature that only they need would compile half the tree
//! twice, once for `up` and once for `test`.

use std::collections::{BTreeMap, BTreeSet};

use crate::process;

/// A crate and all the features that it is compiled with, once for each build of it.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Every crate that tests would compile anew.
pub(crate) fn findings() -> anyhow::Result<Vec<String>> {
    Ok(differences(&of("normal")?, &of("normal,dev")?))
}

fn of(edges: &str) -> anyhow::Result<Features> {
    let mut tree = process::cargo();
    tree.args(["tree", "--workspace", "--prefix=none", "--no-dedupe", "--format={p}\t{f}", "--edges", edges]);
    let mut features = Features::new();
    for line in process::capture(&mut tree)?.lines() {
        let (name, enabled) = line.split_once('\t').unwrap_or((line, ""));
        features.entry(name.to_owned()).or_default().insert(enabled.to_owned());
    }
    Ok(features)
}

fn differences(programs: &Features, tests: &Features) -> Vec<String> {
    let differs = |(name, built): &(&String, &BTreeSet<String>)| tests.get(*name) != Some(built);
    let finding = |(name, built): (&String, &BTreeSet<String>)| {
        let tests = tests.get(name).into_iter().flatten().cloned().collect::<Vec<_>>().join(" and ");
        let built = built.iter().cloned().collect::<Vec<_>>().join(" and ");
        format!(
            "{name} is compiled with `{built}` for `up` and with `{tests}` for tests: state the features in \
             tests/Cargo.toml, so that both share one build"
        )
    };
    programs.iter().filter(differs).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_only_tests_need_is_found() {
        let build = |features: &[(&str, &str)]| {
            let mut all = Features::new();
            for (name, enabled) in features {
                all.entry((*name).to_owned()).or_default().insert((*enabled).to_owned());
            }
            all
        };
        let programs = build(&[("rand v1", "std"), ("rand v2", "")]);
        let tests = build(&[("rand v1", "std"), ("rand v2", "std"), ("proptest v1", "")]);
        assert_eq!(differences(&programs, &programs), Vec::<String>::new());
        let found = differences(&programs, &tests);
        assert!(found.len() == 1 && found.concat().starts_with("rand v2 is compiled with `` for `up` and with `std`"));
    }
}
