"""What the processes of one service count, where all of them can read it. `service.endpoints.metrics` tells it.

On the way of a request there are plain additions to numbers in memory, and nothing else.
"""

from service.figures.cells import Cells, Family
from service.figures.figures import METHODS, Figures
from service.figures.sampler import Sampler

__all__ = ["METHODS", "Cells", "Family", "Figures", "Sampler"]
