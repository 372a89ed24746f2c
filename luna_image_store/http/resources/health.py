"""Resources for load balancers and supervisors: health of the storage, liveness and readiness of the service."""

import falcon

from luna_image_store.errors import NotReady
from luna_image_store.http import schemas
from luna_image_store.http.bodies import Json
from luna_image_store.http.operation import operation
from luna_image_store.http.resources.base import Resource


class Health(Resource):
    """The state of the storage."""

    tag = "health"

    @operation(responses={200: Json(schemas.Health), 502: Json(schemas.Unhealthy)})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the health of the service.

        200 means that the service can read and write the storage. Each worker checks the storage at most once per second.
        """
        found = self._services.health.result()
        if found.error:
            resp.status = falcon.HTTP_502
            resp.media = {**found.error.body(), "components": [{"name": "storage", "detail": found.error.detail}]}
        else:
            resp.media = {"execution_time": round(found.seconds, 6)}


class Life(Resource):
    """The liveness of the service."""

    tag = "health"

    @operation(responses={200: Json(schemas.Alive)})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Check that a worker responds.

        The worker checks nothing else, not even the storage.
        """
        resp.media = {"status": "alive"}


class Readiness(Resource):
    """The readiness of the service."""

    tag = "health"

    @operation(responses={200: Json(schemas.Ready)}, errors=(NotReady,))
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the readiness of the service.

        200 means that the service is ready for requests. 503 means that the service is draining, or that its storage does not work.
        """
        if reason := self._reason():
            raise NotReady(reason)
        resp.media = {"status": "ready"}

    def _reason(self) -> str | None:
        if self._services.drain_file.exists():
            return "the service is draining"
        error = self._services.health.result().error
        return f"storage: {error.spec.desc}" if error else None
