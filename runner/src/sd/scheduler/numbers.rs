//! numpy's and torch's arithmetic on short lists of numbers.

/// `a·x + b·y`, element by element.
pub(super) fn mix(a: f32, x: &[f32], b: f32, y: &[f32]) -> Vec<f32> {
    x.iter().zip(y).map(|(x, y)| a * x + b * y).collect()
}

/// `f(x, y)`, element by element.
pub(super) fn zip(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    x.iter().zip(y).map(|(x, y)| f(*x, *y)).collect()
}

/// `numpy.linspace`.
pub(super) fn linspace(first: f64, last: f64, count: usize) -> Vec<f64> {
    let step = (last - first) / (count.max(2) - 1) as f64;
    let mut values: Vec<f64> = (0..count).map(|i| first + i as f64 * step).collect();
    if count > 1 {
        values[count - 1] = last;
    }
    values
}

/// `torch.linspace` in f32, which counts from both ends.
pub(super) fn linspace_f32(first: f32, last: f32, count: usize) -> Vec<f32> {
    let step = (last - first) / (count.max(2) - 1) as f32;
    let value = |i: usize| if i < count / 2 { first + step * i as f32 } else { last - step * (count - 1 - i) as f32 };
    (0..count).map(value).collect()
}

/// `numpy.arange(first, 0, -step)`.
pub(super) fn count_down(first: f64, step: f64) -> Vec<f64> {
    (0..(first / step).ceil() as usize).map(|i| first - i as f64 * step).collect()
}

/// `numpy.interp(x, [0, 1, …], values)`.
pub(super) fn interpolate(x: f64, values: &[f32]) -> f64 {
    let last = values.len() - 1;
    if x <= 0.0 {
        return f64::from(values[0]);
    }
    if x >= last as f64 {
        return f64::from(values[last]);
    }
    let low = x.floor() as usize;
    let (a, b) = (f64::from(values[low]), f64::from(values[low + 1]));
    (b - a) * (x - low as f64) + a
}

/// The solution of `matrix · x = right`, by elimination with partial pivoting.
pub(super) fn solve(mut matrix: Vec<Vec<f32>>, mut right: Vec<f32>) -> Vec<f32> {
    let n = right.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()));
        let pivot = pivot.unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in column + 1..n {
            let factor = matrix[row][column] / matrix[column][column];
            let (above, below) = matrix.split_at_mut(row);
            below[0][column..].iter_mut().zip(&above[column][column..]).for_each(|(x, pivot)| *x -= factor * pivot);
            right[row] -= factor * right[column];
        }
    }
    for row in (0..n).rev() {
        let known: f32 = (row + 1..n).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}
