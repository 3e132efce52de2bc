//! Pictures of plans: bars by service, and beside them the usual stack. Plain SVG, written by hand: no fonts, scripts or links from outside.

use std::fmt::Write as _;

use crate::Bill;
use crate::peer::Peer;
use crate::text::grouped;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 120.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 58.0;
/// Between the services and the two totals.
const GAP: f64 = 12.0;
/// Services that have a bar of their own; the others share one.
const BARS: usize = 9;
const OURS: &str = "#2b6cb0";
const TOTAL: &str = "#1a365d";
const THEIRS: &str = "#a0aec0";
const LINE: &str = "#c53030";

/// A plan as a picture: its services, both totals, and the budget as a line where there is one.
#[must_use]
pub fn plan(bill: &Bill, peer: &Peer, budget: Option<f64>) -> String {
    let mut rows: Vec<(String, f64, &str)> = Vec::new();
    let mut rest = 0.0;
    for (place, service) in bill.services.iter().enumerate() {
        if place < BARS {
            rows.push((service.service.to_owned(), service.usd_month, OURS));
        } else {
            rest += service.usd_month;
        }
    }
    if rest > 0.0 {
        rows.push(("the rest".to_owned(), rest, OURS));
    }
    rows.push(("all of it".to_owned(), bill.total_usd_month, TOTAL));
    rows.push(("Kafka, Spark, Redis".to_owned(), peer.total_usd_month, THEIRS));
    let largest = rows.iter().map(|row| row.1).chain(budget).fold(1.0, f64::max);
    let title = format!(
        "{} at {} transactions a minute: USD {} a month",
        bill.environment,
        grouped(bill.per_minute),
        grouped(bill.total_usd_month)
    );
    let below = format!("USD {:.2} per million decisions; list prices, measured units", bill.per_million_usd);
    draw(&title, &below, &rows, largest, budget)
}

fn draw(title: &str, below: &str, rows: &[(String, f64, &str)], largest: f64, budget: Option<f64>) -> String {
    let height = rows.iter().fold(TOP + GAP + BOTTOM, |height, _| height + ROW);
    let scale = (WIDTH - LEFT - RIGHT) / largest;
    let mut out = String::new();
    let mut push = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _infallible = out.write_fmt(line);
        out.push('\n');
    };
    push(format_args!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" style="max-width:100%;height:auto" role="img" font-family="sans-serif" font-size="13">"##
    ));
    push(format_args!("<title>{}</title>", escaped(title)));
    push(format_args!(r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##));
    push(format_args!(
        r##"<text x="20" y="30" font-size="17" font-weight="bold" fill="#1a202c">{}</text>"##,
        escaped(title)
    ));
    push(format_args!(r##"<text x="20" y="52" fill="#4a5568">{}</text>"##, escaped(below)));
    // Below the bars, and the amounts have a rim: what stands at the limit is read all the same.
    if let Some(budget) = budget {
        let (at, bottom) = (LEFT + budget * scale, height - BOTTOM);
        push(format_args!(
            r##"<line x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{bottom:.1}" stroke="{LINE}" stroke-width="2" stroke-dasharray="5 4"/>"##
        ));
        push(format_args!(
            r##"<text x="{at:.1}" y="{:.1}" text-anchor="middle" fill="{LINE}">limit {}</text>"##,
            bottom + 18.0,
            grouped(budget)
        ));
    }
    let mut top = TOP;
    for (name, usd, colour) in rows {
        top += if *colour == TOTAL { GAP } else { 0.0 };
        let (text, end) = (top + BAR - 3.0, LEFT + usd.max(0.0) * scale);
        push(format_args!(
            r##"<text x="{}" y="{text:.1}" text-anchor="end" fill="#1a202c">{}</text>"##,
            LEFT - 10.0,
            escaped(name)
        ));
        push(format_args!(
            r##"<rect x="{LEFT}" y="{top:.1}" width="{:.1}" height="{BAR}" fill="{colour}"/>"##,
            (end - LEFT).max(1.0)
        ));
        push(format_args!(
            r##"<text x="{:.1}" y="{text:.1}" fill="#1a202c" stroke="#ffffff" stroke-width="5" paint-order="stroke">{}</text>"##,
            end + 6.0,
            grouped(*usd)
        ));
        top += ROW;
    }
    push(format_args!("</svg>"));
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
