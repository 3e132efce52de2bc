use super::*;

fn evaluated(text: &str) -> Result<Series, MathError> {
    let metrics = BTreeMap::from([
        ("m1", vec![Some(10.0), None, Some(40.0)]),
        ("m2", vec![Some(2.0), Some(0.0), Some(8.0)]),
        ("none", vec![None; 3]),
    ]);
    let sum = parse("m1 + m2").expect("an expression");
    let circle = parse("circle + 1").expect("an expression");
    let expressions = BTreeMap::from([("sum", &sum), ("circle", &circle)]);
    let context = Context { metrics: &metrics, expressions: &expressions, period_s: 60.0, length: 3 };
    context.series(&parse(text)?)
}

/// The points as text, `-` where one is missing.
fn points(text: &str) -> String {
    let shown = |point: Option<f64>| point.map_or("-".to_owned(), |number| number.to_string());
    match evaluated(text) {
        Ok(series) => series.into_iter().map(shown).collect::<Vec<_>>().join(" "),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn a_point_is_there_where_all_its_parts_are() {
    assert_eq!(points("m1 + m2"), "12 - 48");
    assert_eq!(points("sum * 2"), "24 - 96");
    assert_eq!(points("100 * m2 / m1"), "20 - 20");
    assert_eq!(points("-m2 ^ 2"), "4 0 64", "a sign binds to its number");
    assert_eq!(points("m2 + 2 * 3"), "8 6 14");
    assert_eq!(points("(m2 + 2) * 3"), "12 6 30");
}

#[test]
fn a_division_by_zero_is_no_point() {
    assert_eq!(points("m1 / m2"), "5 - 5");
    assert_eq!(points("1 / m2"), "0.5 - 0.125");
    assert_eq!(points("CEIL(1000 * LOG10(m2 * 5))"), "1000 - 1603");
}

#[test]
fn if_chooses_point_by_point_and_a_missing_condition_gives_none() {
    assert_eq!(points("IF(m2 >= 2, 100 * FILL(m1, 0) / m2, 0)"), "500 0 500");
    assert_eq!(points("IF(m1 > 0, m2, 7)"), "2 - 8");
    assert_eq!(points("IF(m2 > 0, m2)"), "2 - 8");
    assert_eq!(points("IF(1 > 2, m1, m2)"), "2 0 8");
    assert_eq!(points("IF(AVG(m2) > 100, m1, 0)"), "0 0 0", "beside a series a number is one");
    assert_eq!(points("IF(AVG(none) > 0, m1, 0)"), "0 0 0");
    assert_eq!(points("IF(m2 > 1 AND m2 < 5 OR m2 == 8, m2, 0)"), "2 0 8");
    assert_eq!(points("IF(m2 != 0 && m1 <= 10 || 0, 1, 0)"), "1 - 0");
}

#[test]
fn missing_points_are_filled_as_is_asked_for() {
    assert_eq!(points("FILL(m1, 0)"), "10 0 40");
    assert_eq!(points("FILL(m1, m2)"), "10 0 40");
    assert_eq!(points("FILL(m1, REPEAT)"), "10 10 40");
    assert_eq!(points("FILL(m1, LINEAR)"), "10 25 40");
    assert_eq!(points("FILL(none, 3)"), "3 3 3");
    assert_eq!(points("FILL(none, LINEAR)"), "- - -");
}

#[test]
fn a_series_comes_to_a_number_and_several_come_to_a_series() {
    assert_eq!(points("m2 - AVG(m1)"), "-23 -25 -17");
    assert_eq!(points("m2 / SUM(m2)"), "0.2 0 0.8");
    assert_eq!(points("m2 + AVG(none)"), "- - -", "nothing has no mean");
    assert_eq!(points("SUM(METRICS())"), "12 0 48");
    assert_eq!(points("MAX([m1, m2, 5])"), "10 5 40");
    assert_eq!(points("MIN(METRICS('m'))"), "2 0 8");
    assert_eq!(points("AVG(METRICS(\"m1\"))"), "10 - 40");
    assert_eq!(points("m2 * METRIC_COUNT(METRICS())"), "6 0 24");
    assert_eq!(points("STDDEV([m2, m2 + 2])"), "1 1 1");
    assert_eq!(points("m2 * PERIOD(m2)"), "120 0 480");
    assert_eq!(points("LAST([m1, m2]) + FIRST([m2])"), "4 0 16");
}

#[test]
fn steps_are_from_the_last_point_that_is_there() {
    assert_eq!(points("DIFF(m1)"), "- - 30");
    assert_eq!(points("RATE(m1)"), "- - 0.25");
    assert_eq!(points("RUNNING_SUM(m2)"), "2 2 10");
    assert_eq!(points("ABS(FLOOR(0 - m2 / 3))"), "1 0 3");
    assert_eq!(points("CEIL(m2 / 3)"), "1 0 3");
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    for (text, part) in [
        ("m1 +", "instead of `the end`"),
        ("m1 m2", "the end of the expression"),
        ("(m1", "a closing parenthesis"),
        ("m3", "the id `m3`"),
        ("circle", "in a circle"),
        ("ANOMALY_DETECTION_BAND(m1)", "ANOMALY_DETECTION_BAND is not evaluated here"),
        ("IF(m1)", "IF takes"),
        ("FILL(m1, NOTHING)", "FILL takes"),
        ("AVG(m1)", "a number"),
        ("METRICS()", "several time series"),
        ("METRICS() + METRICS()", "two lists"),
        ("m1 ? m2", "`?`"),
        ("1..2 + m1", "a number"),
        ("'m1", "`'`"),
        ("", "the end"),
    ] {
        let found = points(text);
        assert!(found.starts_with("error") && found.contains(part), "{text}: {found}");
    }
    assert!(points(&"(".repeat(5_000)).contains("2,048"));
    assert!(points(&format!("{}m1", "-".repeat(500))).contains("nested"));
    assert!(points(&format!("{}m1", "(".repeat(500))).contains("nested"));
}
