"""What lies in a data directory, for people and for programs: `quorate-broker inspect`.

Nothing is written and no lock is taken, so it may be pointed at the directory of a running node;
then it is a picture of a moment, and says so. It trusts nothing: every batch is read and checked,
and what does not hold is told in words. `read` gathers, `facts` are what it found, `show` prints.
"""

from quorate_broker.inspection.facts import Report as Report
from quorate_broker.inspection.read import NothingHereError as NothingHereError
from quorate_broker.inspection.read import Options as Options
from quorate_broker.inspection.read import inspect as inspect
from quorate_broker.inspection.show import show as show
from quorate_broker.inspection.show import tell as tell
