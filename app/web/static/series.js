// Points of series, [step, value] in order of steps. Knows no chart.

// An average that forgets exponentially, with its start corrected, as Adam corrects its moments.
export function smoothed(points, weight) {
  if (weight === 0) return points;
  let mean = 0;
  let share = 1;
  return points.map(([step, value]) => {
    mean = weight * mean + (1 - weight) * value;
    share *= weight;
    return [step, mean / (1 - share)];
  });
}

// A point put where it belongs: a step that is told again, after a loss, replaces the first telling and what followed.
export function told(points, step, value) {
  while (points.length && points.at(-1)[0] >= step) points.pop();
  points.push([step, value]);
}

export const lowest = (points) =>
  points.reduce((best, point) => (best === null || point[1] < best[1] ? point : best), null);

// The point whose step is closest.
export function nearest(points, step) {
  let low = 0;
  let high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < step) low = middle;
    else high = middle;
  }
  return Math.abs(points[low][0] - step) <= Math.abs(points[high][0] - step) ? points[low] : points[high];
}
