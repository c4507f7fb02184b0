//! Line charts as SVG.

use std::fmt::Write as _;

/// Size of a chart, pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
/// Space round the plot for the axes, pixels: left, right, top, bottom.
const MARGINS: (f64, f64, f64, f64) = (64.0, 150.0, 34.0, 44.0);

/// Colours of the lines, distinguishable for colour-blind readers (Okabe and Ito).
const COLORS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00", "#555555"];

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points, by rising x.
    pub points: Vec<(f64, f64)>,
}

/// A chart of some lines over one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows, with the unit.
    pub title: String,
    /// The quantity to the right, with the unit.
    pub x_title: String,
    /// The lines.
    pub lines: Vec<Line>,
    /// A value to be shown as a dashed horizontal line, with its name.
    pub limit: Option<(String, f64)>,
}

impl Chart {
    /// The chart as a complete SVG document. Points that are not finite are left out.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points).filter(|(x, y)| x.is_finite() && y.is_finite());
        let (left, right, top, bottom) = MARGINS;
        let (first_x, last_x) = range(points().map(|(x, _)| *x));
        let highest = points()
            .map(|(_, y)| *y)
            .chain(self.limit.iter().map(|(_, value)| *value).filter(|value| value.is_finite()))
            .fold(0.0, f64::max);
        let y_step = nice_step(highest / 5.0);
        let y_end = (highest / y_step).ceil().max(1.0) * y_step;
        let x_at = |x: f64| left + (x - first_x) / (last_x - first_x) * (WIDTH - left - right);
        let y_at = |y: f64| HEIGHT - bottom - y / y_end * (HEIGHT - top - bottom);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{left}\" y=\"20\" font-size=\"13\" fill=\"#222222\">{}</text>\n",
            escaped(&self.title)
        );
        let mut y = 0.0;
        while y <= y_end * 1.0001 {
            let (at, end) = (y_at(y), WIDTH - right);
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {at:.1}H{end}\" stroke=\"#dddddd\" fill=\"none\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444444\">{}</text>",
                left - 6.0,
                at + 4.0,
                number(y, y_step)
            );
            y += y_step;
        }
        let x_step = nice_step((last_x - first_x) / 6.0);
        let mut x = (first_x / x_step).ceil() * x_step;
        while x <= last_x * 1.0001 {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444444\">{}</text>",
                x_at(x),
                HEIGHT - bottom + 16.0,
                number(x, x_step)
            );
            x += x_step;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222222\">{}</text>",
            (left + WIDTH - right) / 2.0,
            HEIGHT - 10.0,
            escaped(&self.x_title)
        );
        if let Some((name, value)) = self.limit.as_ref().filter(|(_, value)| value.is_finite()) {
            let at = y_at(*value);
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {at:.1}H{}\" stroke=\"#aa0000\" stroke-dasharray=\"5 4\" fill=\"none\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#aa0000\">{}</text>",
                WIDTH - right,
                WIDTH - right - 4.0,
                at - 4.0,
                escaped(name)
            );
        }
        for (index, line) in self.lines.iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            let mut path = String::new();
            for (x, y) in line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
                let _ = write!(path, "{}{:.1} {:.1}", if path.is_empty() { 'M' } else { 'L' }, x_at(*x), y_at(*y));
                let _ =
                    writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"{color}\"/>", x_at(*x), y_at(*y));
            }
            if !path.is_empty() {
                let _ = writeln!(svg, "<path d=\"{path}\" stroke=\"{color}\" stroke-width=\"1.8\" fill=\"none\"/>");
            }
            let (at_x, at_y) = (WIDTH - right + 8.0, top + 34.0 + 16.0 * index as f64);
            let _ = writeln!(
                svg,
                "<path d=\"M{at_x} {at_y}h14\" stroke=\"{color}\" stroke-width=\"3\" fill=\"none\"/>\
                 <text x=\"{}\" y=\"{}\" fill=\"#222222\">{}</text>",
                at_x + 19.0,
                at_y + 4.0,
                escaped(&line.name)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// The least and the greatest value, a unit apart at least.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
    match least.is_finite() {
        true if most - least < 1e-9 => (least - 0.5, most + 0.5),
        true => (least, most),
        false => (0.0, 1.0),
    }
}

/// 1, 2 or 5 times a power of ten: at least `least`.
fn nice_step(least: f64) -> f64 {
    if !least.is_finite() || least <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least * 0.9999)
        .unwrap_or(power * 10.0)
}

/// A number with as many places as a step needs.
fn number(value: f64, step: f64) -> String {
    let places = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.places$}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(lines: Vec<Vec<(f64, f64)>>) -> Chart {
        let lines = lines.into_iter().map(|points| Line { name: "a < b & c".to_owned(), points }).collect();
        Chart {
            title: "ticks > 30".to_owned(),
            x_title: "players".to_owned(),
            lines,
            limit: Some(("33 ms".to_owned(), 33.0)),
        }
    }

    #[test]
    fn whatever_is_drawn_is_well_formed_and_inside_the_frame() {
        for points in [
            vec![],
            vec![(25.0, 3.0)],
            vec![(25.0, 3.0), (50.0, f64::NAN), (75.0, 900.0)],
            vec![(0.0, 0.0), (0.0, 0.0)],
        ] {
            let svg = chart(vec![points.clone(), points]).svg();
            assert_eq!(crate::report::check_svg(&svg), Ok(()), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            for part in svg.split("cy=\"").skip(1) {
                let y: f64 = part.split('"').next().unwrap_or_default().parse().unwrap();
                assert!((0.0..=HEIGHT).contains(&y));
            }
        }
    }

    #[test]
    fn steps_are_round_numbers() {
        let steps: Vec<f64> = [0.0, 0.3, 1.0, 1.2, 3.0, 7.0, 180.0].into_iter().map(nice_step).collect();
        assert_eq!(steps, [1.0, 0.5, 1.0, 2.0, 5.0, 10.0, 200.0]);
        assert_eq!((number(0.5, 0.5), number(20.0, 5.0)), ("0.5".to_owned(), "20".to_owned()));
    }
}
