{# pandas' own table, with two differences: a head says what it is the head of, and an empty one is a plain cell. #}
{% extends "html_table.tpl" %}
{% macro cell(c, scope) %}
{% if c.is_visible != False %}
{% set empty = c.display_value | string | replace("&nbsp;", "") | trim == "" %}
{% set type = "td" if empty else c.type %}
      <{{type}} {%- if c.id is defined %} id="T_{{uuid}}_{{c.id}}" {%- endif %} {%- if type == "th" %} scope="{{scope}}" {%- endif %} class="{{c.class}}" {{c.attributes}}>{{c.display_value}}</{{type}}>
{% endif %}
{% endmacro %}
{% block head_tr %}
    <tr>
{% for c in r %}{{ cell(c, "col") }}{% endfor %}
    </tr>
{% endblock head_tr %}
{% block tr %}
    <tr>
{% for c in r %}{{ cell(c, "row") }}{% endfor %}
    </tr>
{% endblock tr %}
