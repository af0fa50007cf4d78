"""Finds the polynomials of src/math.rs by Remez's exchange algorithm. Needs mpmath."""

from mpmath import cos, erfc, exp, log, lu_solve, matrix, mp, mpf, nstr, pi, sqrt

mp.dps = 40
POINTS = 2000


def minimax(wanted, basis, value, low, high, terms):
    """The coefficients with the smallest relative error, and that error.

    `wanted(x)` is what the sum of coefficients times `basis(i, x)` comes near; `value(x)` is what errors are relative to.
    """
    grid = [low + (high - low) * (1 - cos(pi * i / POINTS)) / 2 for i in range(POINTS + 1)]
    extremes, chosen = [POINTS * i // terms for i in range(terms + 1)], None
    while extremes != chosen:
        chosen = extremes
        system = matrix(terms + 1)
        for row, point in enumerate(chosen):
            for i in range(terms):
                system[row, i] = basis(i, grid[point])
            system[row, terms] = (-1) ** row * value(grid[point])
        solution = lu_solve(system, matrix([wanted(grid[point]) for point in chosen]))
        coefficients = list(solution)[:terms]
        errors = [(wanted(x) - sum(c * basis(i, x) for i, c in enumerate(coefficients))) / value(x) for x in grid]
        # The largest error of every stretch of one sign.
        extremes = [0]
        for point, error in enumerate(errors):
            if error * errors[extremes[-1]] < 0:
                extremes.append(point)
            elif abs(error) > abs(errors[extremes[-1]]):
                extremes[-1] = point
        while len(extremes) > terms + 1:
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        assert len(extremes) == terms + 1, "the grid is too coarse"
    return coefficients, max(map(abs, errors))


def show(name, found):
    coefficients, error = found
    print(f"{name}: error {nstr(error, 2)}")
    print("   ", ", ".join(nstr(c, 10) for c in coefficients))


half = log(mpf(2)) / 2
show("EXP", minimax(lambda r: exp(r) - 1 - r, lambda i, r: r ** (i + 2), exp, -half, half, 5))

half = mpf(1) / 2
show("EXP2", minimax(lambda r: mpf(2) ** r - 1, lambda i, r: r ** (i + 1), lambda r: mpf(2) ** r, -half, half, 6))

# Of one sign, as is the error around 0 with an odd number of terms.
rough = minimax(lambda r: abs(mpf(2) ** r - 1), lambda i, r: abs(r) * r**i, lambda r: mpf(2) ** r, -half, half, 3)
show("EXP2_ROUGHLY", rough)


def tail(v):
    a = v * mpf(3.5) / (1 - v)
    return erfc(a / sqrt(mpf(2))) / 2 * exp(a * a / 2) / (1 - v)


show("TAIL", minimax(tail, lambda i, v: v**i, tail, mpf(0), mpf(14.5) / mpf(18), 10))


def log_odds(a):
    upper = erfc(-a / sqrt(mpf(2))) / 2
    return log(upper / (1 - upper), 2)


# An absolute error here is a relative one of the tail.
found = minimax(log_odds, lambda i, a: a ** (2 * i + 1), lambda a: 1 / log(mpf(2)), mpf(1) / 1000, mpf(4), 5)
show("LOG_ODDS", found)
