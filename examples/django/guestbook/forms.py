from django import forms

from .models import Entry


class EntryForm(forms.ModelForm):
    class Meta:
        model = Entry
        fields = ("author", "message")
        labels = {"author": "Your name", "message": "What would you like to say?"}
