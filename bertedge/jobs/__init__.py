"""Jobs: the rows of files, and of tables in memory, answered with a bundle."""

from bertedge.jobs.job_run import JobResult as JobResult
from bertedge.jobs.run_job import run as run
