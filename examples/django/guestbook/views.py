from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from .forms import EntryForm
from .models import Entry

NEWEST = 50


@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """The page: a form, and under it what the visitors wrote, the newest first."""
    form = EntryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("guestbook:index")
    context = {"form": form, "entries": Entry.objects.all()[:NEWEST]}
    return render(request, "guestbook/index.html", context)
