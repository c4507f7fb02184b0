//! Judges a run by the invariants in its joint report.

use crate::report::Report;

/// All faults of a run, as text; empty for a good one.
pub fn faults(report: &Report) -> Vec<String> {
    let must_be_nought = [
        ("lost", report.lost),
        ("doubled", report.doubled),
        ("inputs_lost", report.inputs_lost),
        ("inputs_doubled", report.inputs_doubled),
        ("violations", report.violations),
    ];
    let mut faults: Vec<String> = must_be_nought
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} is {count}"))
        .collect();
    if report.bots_played < report.bots_wanted {
        faults.push(format!("{} of {} bots played", report.bots_played, report.bots_wanted));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::good_reports;

    #[test]
    fn a_good_run_has_no_fault_and_each_broken_invariant_is_one() {
        let good = Report::join(&good_reports(), 1.0, 1);
        assert!(faults(&good).is_empty());
        let breaks: [(&str, fn(&mut Report)); 6] = [
            ("lost is 1", |report| report.lost = 1),
            ("doubled is 2", |report| report.doubled = 2),
            ("inputs_lost is 3", |report| report.inputs_lost = 3),
            ("inputs_doubled is 4", |report| report.inputs_doubled = 4),
            ("violations is 5", |report| report.violations = 5),
            ("1 of 2 bots played", |report| report.bots_played = 1),
        ];
        for (said, break_it) in breaks {
            let mut report = good.clone();
            break_it(&mut report);
            assert_eq!(faults(&report), [said]);
        }
    }
}
