//! The ways of a graph's edges: between the columns they bend, and past a column's boxes they go
//! straight, where no box is.

/// A place in a picture.
pub type Point = (f64, f64);

/// So far an edge stays from a box that it passes.
const MARGIN: f64 = 4.0;
/// Edges of different values are so far apart where they pass a column.
const APART: f64 = 3.0;
/// So many pieces make a curve.
const PIECES: usize = 16;

/// A column of boxes.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its left and right side.
    pub sides: [f64; 2],
    /// The upper and lower edge of each box.
    pub boxes: Vec<[f64; 2]>,
}

/// The columns of a picture, and where edges pass them already.
pub struct Router {
    columns: Vec<Column>,
    /// By column: how high, and which value's edge.
    taken: Vec<Vec<(f64, usize)>>,
    /// Edges stay between these.
    limits: [f64; 2],
}

impl Router {
    /// Nothing passes yet.
    pub fn new(columns: Vec<Column>, limits: [f64; 2]) -> Self {
        Router { taken: vec![Vec::new(); columns.len()], columns, limits }
    }

    /// The way of a value: from the right side of a box in one column to the left side of one in a later
    /// column, or from the left side to the left side of one in the same column or an earlier one.
    /// `out` is how far the way goes out to the left of where it ends.
    pub fn way(
        &mut self,
        value: usize,
        (start, from): (Point, usize),
        (end, to): (Point, usize),
        out: f64,
    ) -> Vec<Point> {
        let mut points = vec![start];
        let onwards = from < to;
        let passed: Vec<usize> = match onwards {
            true => (from + 1..to).collect(),
            false => (to..from).rev().collect(),
        };
        for column in passed {
            let (_, height) = points.last().copied().unwrap_or(start);
            let height = self.pass(column, height, value);
            let Some(Column { sides: [left, right], .. }) = self.columns.get(column) else {
                continue;
            };
            let [near, far] = if onwards { [left, right] } else { [right, left] };
            bend(&mut points, (*near, height));
            points.push((*far, height));
        }
        match onwards {
            true => bend(&mut points, end),
            false => turn(&mut points, end, out),
        }
        points
    }

    /// Where an edge passes a column: near to a height, away from boxes and, if there is room, from the
    /// edges of other values.
    fn pass(&mut self, column: usize, wanted: f64, value: usize) -> f64 {
        let (Some(of), Some(taken)) = (self.columns.get(column), self.taken.get_mut(column)) else {
            return wanted;
        };
        let [top, bottom] = self.limits;
        let steps = ((bottom - top) / APART).ceil().max(0.0) as usize;
        let near = (0..=steps).flat_map(|step| {
            let off = step as f64 * APART;
            [wanted - off, wanted + off]
        });
        let free = |&height: &f64| {
            let beside =
                |[upper, lower]: &[f64; 2]| height <= upper - MARGIN || height >= lower + MARGIN;
            (top..=bottom).contains(&height) && of.boxes.iter().all(beside)
        };
        let alone = |&height: &f64| {
            taken.iter().all(|&(other, of)| of == value || (other - height).abs() >= APART)
        };
        let found = near.clone().find(|height| free(height) && alone(height));
        let height = found.or_else(|| near.clone().find(free)).unwrap_or(bottom);
        taken.push((height, value));
        height
    }
}

/// On to a point, level at both ends.
fn bend(points: &mut Vec<Point>, end: Point) {
    let Some(&start) = points.last() else { return };
    let middle = (end.0 - start.0) / 2.0;
    curve(points, [(start.0 + middle, start.1), (end.0 - middle, end.1), end]);
}

/// On to a point from its left, having come from its right.
fn turn(points: &mut Vec<Point>, end: Point, out: f64) {
    let Some(&start) = points.last() else { return };
    curve(points, [(start.0 - out, start.1), (end.0 - out, end.1), end]);
}

/// A Bézier curve as short pieces.
fn curve(points: &mut Vec<Point>, [b, c, d]: [Point; 3]) {
    let Some(&a) = points.last() else { return };
    let at = |t: f64| {
        let s = 1.0 - t;
        let mix = |a: f64, b: f64, c: f64, d: f64| {
            s * s * s * a + 3.0 * s * s * t * b + 3.0 * s * t * t * c + t * t * t * d
        };
        (mix(a.0, b.0, c.0, d.0), mix(a.1, b.1, c.1, d.1))
    };
    points.extend((1..=PIECES).map(|piece| at(piece as f64 / PIECES as f64)));
}
