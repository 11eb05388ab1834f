"""Rotations of eight-dimensional blocks: the Cayley transform and its application.

Never rounded below float32: a bfloat16 rotation is off SO(8) by about 4e-3, and a truncated Neumann series instead of
the solve (the default of PEFT's OFT) by several hundredths.
"""

import torch
from torch import Tensor

BLOCK = 8
"""Dimensions of one block."""
ANGLES = BLOCK * (BLOCK - 1) // 2
"""Free parameters of a skew-symmetric 8 x 8 matrix: the dimension of SO(8)."""


def rotation(theta: Tensor) -> Tensor:
    """Turn free parameters into rotations by the Cayley transform.

    R = (I - S/2)^-1 (I + S/2), with S skew-symmetric and `theta` its upper triangle, row by row.

    S has imaginary eigenvalues only, so I - S/2 is never singular, R is orthogonal with determinant +1 for any
    finite `theta`, and `theta` = 0 gives I exactly. The solve is exact up to rounding; see OFT
    (https://arxiv.org/abs/2306.07280) for the transform as a way to fine-tune.

    Args:
        theta: (..., 28), any floating dtype.

    Returns:
        Rotations (..., 8, 8) in float64 when `theta` is float64, else in float32.
    """
    # Solved in float64 and rounded once: a float32 solve leaves SO(8) by 1e-6 where |theta| is about 3 and by 1e-4
    # where it is 1000, and for matrices this small the wider dtype costs nothing that could be measured.
    wide = theta.double()
    rows, columns = torch.triu_indices(BLOCK, BLOCK, offset=1, device=theta.device)
    upper = wide.new_zeros(*theta.shape[:-1], BLOCK, BLOCK)
    upper[..., rows, columns] = wide
    half = (upper - upper.mT) / 2
    eye = torch.eye(BLOCK, dtype=wide.dtype, device=wide.device)
    # solve_ex, not solve: the plain one copies its error flag back from the GPU, a stop in every layer, to report a
    # singular matrix that can't occur here.
    exact = torch.linalg.solve_ex(eye - half, eye + half).result
    return exact.to(torch.promote_types(theta.dtype, torch.float32))


def rotate(rotations: Tensor, values: Tensor) -> Tensor:
    """Apply one rotation to each block of eight neighbours in the last dimension.

    Args:
        rotations: (k, 8, 8).
        values: (..., 8k), same dtype as `rotations`.

    Returns:
        blockdiag(R_1 ... R_k) applied to every vector of `values`, same shape and dtype.
    """
    blocks = values.unflatten(-1, (-1, BLOCK))
    return torch.einsum("kij,...kj->...ki", rotations, blocks).flatten(-2)
