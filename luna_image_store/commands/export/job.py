"""Exports a bucket to files in a directory, with an index.

<folder>/images/0b/0b5e4c1a-....jpg       0b: the first two digits of the id
<folder>/objects/8f/8f03a1d2-....pdf
<folder>/index.jsonl                      a JSON object per record; written when all files are complete
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from luna_image_store.commands import progress, targets
from luna_image_store.commands.exit_codes import FailureLimit
from luna_image_store.commands.export.exporter import Exported, RecordExporter
from luna_image_store.commands.listing import list_all
from luna_image_store.commands.process_pool import ProcessPool
from luna_image_store.commands.report import Report
from luna_image_store.commands.tally import Tally
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import Key, Kind, Storage

INDEX = "index.jsonl"


@dataclass(frozen=True)
class Export:
    """An export of a bucket to a folder. `parallel`: records at the same time."""

    settings: Settings
    folder: str
    bucket: str
    with_previews: bool
    parallel: int

    def run(self, report: Report) -> bool:
        """Export the bucket. Return whether all records were written."""
        targets.check_exists(self.settings)
        storage = targets.open_storage(self.settings, 1, read_only=True)
        if self.bucket not in storage.list_buckets():
            raise SettingsError(f"--bucket: no such bucket: {self.bucket}")
        index, tally = os.path.join(self.folder, INDEX), Tally("exported", "there_already", "failed")
        try:
            os.makedirs(self.folder, exist_ok=True)
            with open(f"{index}.part", "a", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.truncate(0)
                self._write(storage, file, tally, report)
            os.sync()
            os.replace(f"{index}.part", index)
        except BrokenPipeError:  # from the report to standard output
            raise
        except BlockingIOError as ex:
            raise SettingsError(f"DIR: another export writes to {self.folder}") from ex
        except OSError as ex:
            raise SettingsError(f"DIR: cannot write to {self.folder}: {ex}") from ex
        finally:
            report.summary(tally.summary(tally["exported"] + tally["there_already"]))
        return not tally["failed"] and report.is_complete

    def _write(self, storage: Storage, file: TextIO, tally: Tally, report: Report) -> None:
        arguments = (self.settings, self.bucket, self.folder, self.with_previews)
        workers: ProcessPool[Key, list[Exported]] = ProcessPool(RecordExporter, arguments, self.parallel)
        failure_limit = FailureLimit()
        with progress.progress_bar("exporting", quiet=report.as_json) as bar:
            progress.count_total(bar, self._keys(storage))
            for records in workers.results(self._keys(storage, report)):
                for record in records:
                    failure_limit.count(bool(record.problem))
                    if record.problem:
                        tally.add("failed")
                        self._report(report, record)
                    elif record.line:
                        tally.add("exported" if record.is_new else "there_already")
                        file.write(f"{json.dumps(record.line)}\n")
                bar.update(len(records))

    def _keys(self, storage: Storage, report: Report | None = None) -> Iterator[Key]:
        for kind in Kind:
            yield from list_all(self.bucket, storage.list_keys(self.bucket, kind), report)

    def _report(self, report: Report, record: Exported) -> None:
        kind, record_id = record.key.kind.folder, record.key.id
        fields = {"bucket": self.bucket, "kind": kind, "id": record_id}
        report.finding(f"{self.bucket} {kind} {record_id}", record.problem, **fields)
